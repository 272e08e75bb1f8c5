package boot

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// hardware is a machine that none of ours is.
const hardware = `{"name": "Acme", "compatible": "acme,one", "hwids": ["6de5d951-d755-576b-bd09-c5cf66b27234"]}`

// profiled makes a UKI with a second profile, which pins the image too.
func (s secure) profiled(t *testing.T) string {
	t.Helper()
	dir, _ := shared.kernel(t, "trixie")
	return shared.once(t, "profiles.efi", func(path string) error {
		release := path + ".os-release"
		if err := os.WriteFile(release, []byte("ID=tiny\nPRETTY_NAME=Tiny\nVERSION_ID=1\n"), 0o600); err != nil {
			return err
		}
		if _, err := shared.mkimage("uki", "build", "--stub", s.addonStub, "--profile", "ID=second\nTITLE=\"Second\"", "--image", s.image,
			"--cmdline", consoleArguments+"guest.profile=second  \"guest.quoted=a b\" "+strings.Repeat("x", 80), "--output", path+".profile"); err != nil {
			return err
		}
		ids := path + ".hwids"
		if err := os.MkdirAll(ids, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(ids, "a.json"), []byte(hardware), 0o600); err != nil {
			return err
		}
		_, err := shared.mkimage("uki", "build", "--stub", s.stub, "--linux", filepath.Join(dir, "vmlinuz"), "--initrd", s.initrd, "--os-release", release, "--hwids", ids,
			"--image", s.image, "--cmdline", consoleArguments+"guest.profile=first", "--join", path+".profile", "--output", path)
		return err
	})
}

// shownProfiles is what mkimage says of each profile.
func shownProfiles(t *testing.T, uki string) (lines []string) {
	t.Helper()
	out, err := shared.mkimage("uki", "inspect", "--json", uki)
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Profiles []struct{ Cmdline string }
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		t.Fatal(err)
	}
	for _, p := range shown.Profiles {
		lines = append(lines, p.Cmdline)
	}
	return lines
}

// Whoever boots the machine chooses the profile, signed UKI or not. The kernel gets
// the command line that mkimage shows of it, the TPM is told what a PCR signature
// would say, and a profile that mkimage refuses doesn't get past composefs-setup-root.
func TestProfiles(t *testing.T) {
	testutil.RequireTool(t, vm.TPMProgram)
	s := secureLab(t)
	s.tpm = true
	for _, c := range []struct {
		name    string
		entry   string // what systemd-boot selects
		conf    string // an entry of type 1
		uki     func(*testing.T, string) string
		profile int
		fails   bool
	}{
		{"the first", "linux.efi", "", nil, 0, false},
		{"the second, of the menu", "linux.efi@second", "", nil, 1, false},
		{"the second, by load options", "tests.conf", "title Tests\nefi /EFI/Linux/linux.efi\noptions @1 guest.loader=yes\n", nil, 1, false},
		{"the second pins nothing", "linux.efi@second", "", func(t *testing.T, uki string) string {
			old := shownProfiles(t, uki)[1]
			return edited(t, uki, old, fmt.Sprintf("%-*s", len(old), consoleArguments+"rw init=/bin/sh"))
		}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := s.profiled(t)
			if c.uki != nil {
				program = c.uki(t, program)
			}
			program = s.ours.sign(t, program)
			esp := map[string]string{
				bootProgram: s.ours.sign(t, s.loader), "EFI/Linux/linux.efi": program,
				"loader/loader.conf": written(t, "timeout 0\ndefault "+c.entry+"\n"),
			}
			if c.conf != "" {
				esp["loader/entries/tests.conf"] = written(t, c.conf)
			}
			_, err := shared.mkimage("uki", "verify", "--sb-cert", s.ours.cert, program)
			if c.fails != (err != nil) {
				t.Errorf("mkimage uki verify says %v", err)
			}
			console := s.bootWith(t, esp, nil, givenUp)
			want := shownProfiles(t, program)[c.profile]
			if c.fails {
				checkNothingBooted(t, console)
				return
			}
			checkBoots(t, console, s.image)
			checkEnforced(t, console)
			if got := console.Guest()["cmdline"]; got != want {
				t.Errorf("the kernel has the command line %q, mkimage shows %q", got, want)
			}
			checkPCR11(t, console, program, c.profile)
		})
	}
}

// checkNothingBooted checks that composefs-setup-root ran and handed nothing over.
func checkNothingBooted(t *testing.T, c vm.Console) {
	t.Helper()
	if c.Has("GUEST init=reached") || len(c.Composefs()) == 0 {
		t.Errorf("want a refusal by composefs-setup-root, found:\n%s", c.Tail(20))
	}
}

// checkPCR11 checks that the stub has measured what we say that it does.
func checkPCR11(t *testing.T, c vm.Console, name string, profile int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	program, err := uki.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := program.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	bank := uki.Banks[slices.IndexFunc(uki.Banks, func(b uki.Bank) bool { return b.Name == "sha256" })]
	want := fmt.Sprintf("%x", uki.MeasureSections(bank, profiles[profile].Measured()))
	if got := c.Guest()["pcr 11"]; got != want {
		t.Errorf("PCR 11 is %s, want %s", got, want)
	}
}
