package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/test/vm"
)

// With our keys enrolled the firmware starts what they signed, and nothing else.
func TestSecureBoot(t *testing.T) {
	s := secureLab(t)
	cases := []struct {
		name    string
		program func(*testing.T) string
		boots   string // which image; none if empty
	}{
		{"signed UKI", func(t *testing.T) string { return s.ours.sign(t, s.uki(t, pin(s.image))) }, s.image},
		{"UKI signed by sbsign", func(t *testing.T) string { return s.ours.sbsign(t, s.uki(t, pin(s.image))) }, s.image},
		// Last month's UKI has keys and policy and no digest: the disk says which image.
		{"signed UKI for every image with a seal", func(t *testing.T) string { return s.ours.sign(t, s.uki(t, byRef(s.base))) }, s.other},
		{"unsigned UKI", func(t *testing.T) string { return s.uki(t, pin(s.image)) }, ""},
		{"UKI signed by a key that is not in the database", func(t *testing.T) string { return s.stranger.sign(t, s.uki(t, pin(s.image))) }, ""},
		{"command line edited after signing", func(t *testing.T) string {
			return edited(t, s.ours.sign(t, s.uki(t, pin(s.image))), pin(s.image), pin(s.other))
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			console := s.bootWith(t, map[string]string{bootProgram: c.program(t)}, ref("next", "../{other}"), givenUp)
			if c.boots != "" {
				checkBoots(t, console, c.boots)
				checkEnforced(t, console)
				return
			}
			checkFirmwareRefused(t, console)
		})
	}
}

// checkEnforced checks that Secure Boot was really on.
func checkEnforced(t *testing.T, c vm.Console) {
	t.Helper()
	if got := c.Guest()["secure boot"]; got != "Secure boot enabled" {
		t.Errorf("the kernel says %q, want that Secure Boot is enabled", got)
	}
}

// denied is how firmware, or a boot loader that has asked it, says no.
var denied = regexp.MustCompile(`(?i)Access Denied|Security Violation`)

// checkFirmwareRefused checks that the firmware started nothing at all.
func checkFirmwareRefused(t *testing.T, c vm.Console) {
	t.Helper()
	if c.Has("GUEST init=reached") || c.Has("Linux version") || len(c.Composefs()) > 0 {
		t.Fatalf("the firmware let it start:\n%s", c.Tail(30))
	}
	if !denied.MatchString(c.Text) {
		t.Errorf("the firmware doesn't say why it started nothing:\n%s", c.Tail(15))
	}
}

// edited is a copy of a file with a text replaced by another of the same length.
func edited(t *testing.T, file, old, new string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(old) != len(new) || strings.Count(string(content), old) != 1 {
		t.Fatalf("%s has %q %d times, want it once, and to be replaced by as many bytes", file, old, strings.Count(string(content), old))
	}
	changed := filepath.Join(t.TempDir(), "edited.efi")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(content), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return changed
}

// An addon adds arguments to a UKI that its owner didn't think of. The stub takes
// only those that the firmware would start.
func TestSecureBootAddons(t *testing.T) {
	s := secureLab(t)
	const argument = "guest.addon=yes"
	for _, c := range []struct {
		name string
		file func(*testing.T, string) string
		good bool
	}{
		{"signed", s.ours.sign, true},
		{"unsigned", func(_ *testing.T, addon string) string { return addon }, false},
		{"signed by a key that is not in the database", s.stranger.sign, false},
		{"signed, on the stub of UKIs", func(t *testing.T, _ string) string { return s.ours.sign(t, s.onStubOfUKIs(t, argument)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			console := s.bootWith(t, map[string]string{
				bootProgram:                             s.ours.sign(t, s.uki(t, pin(s.image))),
				bootProgram + ".extra.d/more.addon.efi": c.file(t, s.addon(t, argument)),
			}, nil, givenUp)
			checkBoots(t, console, s.image)
			checkEnforced(t, console)
			if got := console.Guest()["cmdline"]; strings.Contains(got, argument) != c.good {
				t.Errorf("the command line is %q; %q in it is %v, want %v", got, argument, !c.good, c.good)
			}
		})
	}
}

// addon makes one that adds arguments to a UKI.
func (s secure) addon(t *testing.T, arguments string) string {
	t.Helper()
	addon := filepath.Join(t.TempDir(), "more.addon.efi")
	if _, err := shared.mkimage("uki", "addon", "--stub", s.addonStub, "--cmdline", arguments, "--output", addon); err != nil {
		t.Fatal(err)
	}
	return addon
}

// onStubOfUKIs makes an addon on another stub than mkimage takes.
func (s secure) onStubOfUKIs(t *testing.T, arguments string) string {
	t.Helper()
	stub, err := os.ReadFile(s.stub)
	if err != nil {
		t.Fatal(err)
	}
	program, err := uki.AssembleAddon(uki.Options{Stub: stub, Cmdline: arguments})
	if err != nil {
		t.Fatal(err)
	}
	return written(t, string(program))
}

// A boot loader has a command line of its own, from a file that nobody signed. A
// UKI doesn't take it. A type 1 entry has no other: there the seal decides.
func TestLoader(t *testing.T) {
	s := secureLab(t)
	dir, _ := shared.kernel(t, "trixie")
	kernel := filepath.Join(dir, "vmlinuz")
	type1 := func(linux, image string) func(*testing.T) map[string]string {
		return func(t *testing.T) map[string]string {
			return map[string]string{
				"linux": linux, "initrd.img": s.initrd,
				"loader/entries/tests.conf": written(t, "title Tests\nlinux /linux\ninitrd /initrd.img\noptions "+consoleArguments+pin(image)+"\n"),
			}
		}
	}
	signed := s.ours.sign(t, kernel)
	for _, c := range []struct {
		name   string
		esp    func(*testing.T) map[string]string
		change change
		check  func(*testing.T, vm.Console)
	}{
		{"appends another image to a UKI's command line", func(t *testing.T) map[string]string {
			return map[string]string{
				"uki.efi":                   s.ours.sign(t, s.uki(t, pin(s.image))),
				"loader/entries/tests.conf": written(t, "title Tests\nefi /uki.efi\noptions guest.loader=yes "+pin(s.other)+"\n"),
			}
		}, nil, func(t *testing.T, c vm.Console) {
			checkBoots(t, c, s.image)
			if got := c.Guest()["cmdline"]; strings.Contains(got, "guest.loader") || strings.Contains(got, s.other) {
				t.Errorf("the command line is %q: the loader has added to it", got)
			}
		}},
		{"has an entry for the image", type1(signed, s.image), nil, func(t *testing.T, c vm.Console) { checkBoots(t, c, s.image) }},
		{"has an entry for another image with a seal", type1(signed, s.other), nil, func(t *testing.T, c vm.Console) { checkBoots(t, c, s.other) }},
		{"has an entry for another image without a seal", type1(signed, s.other), func(t *testing.T, b base, disk string) {
			debugfs(t, disk, "unlink "+seal(b.other, ""), "unlink "+seal(b.other, ".minisig"))
		}, func(t *testing.T, c vm.Console) { checkRefused(t, c, 6, "no seal") }},
		{"has an entry for a kernel that we didn't sign", type1(kernel, s.image), nil, func(t *testing.T, c vm.Console) { checkFirmwareRefused(t, c) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			esp := c.esp(t)
			esp[bootProgram] = s.ours.sign(t, s.loader)
			esp["loader/loader.conf"] = written(t, "timeout 0\ndefault tests.conf\n")
			c.check(t, s.bootWith(t, esp, c.change, givenUp))
		})
	}
}

// written is a file with a text.
func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "written")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
