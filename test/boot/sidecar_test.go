package boot

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// ran is what an attacker has written to the kernel's log.
const ran = "ESP-CREDENTIAL-RAN"

// files is a credential by which systemd-tmpfiles writes any file as root.
const files = "tmpfiles.extra"

// writes is its content.
const writes = "w /dev/kmsg - - - - <3>" + ran + "\\n\n"

// nullCredential is a credential that anybody can make: the key is known. systemd
// takes it where there is no TPM, Secure Boot or not.
func nullCredential(t *testing.T, name, text string) string {
	t.Helper()
	command, err := run("../../scripts/systemd-tool", "systemd-creds")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "credential")
	said, err := exec.Command("sh", "-c", command+` "$@"`, "sh", "encrypt", "--with-key=null", "--name="+name, written(t, text), out).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

// login is what a Debian says when it is up.
var login = regexp.MustCompile(`login: `)

// freed is how much memory the kernel gets back from the initrds.
var freed = regexp.MustCompile(`Freeing initrd memory: (\d+)K`)

func freedKiB(t *testing.T, c vm.Console) int {
	t.Helper()
	found := freed.FindStringSubmatch(c.Text)
	if found == nil {
		t.Fatalf("the kernel doesn't say how large the initrd was:\n%s", c.Tail(20))
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whoever writes to the EFI system partition can put files beside a UKI, which
// systemd-stub hands to the initrd although nobody has signed them. The initrd that
// mkimage makes has nothing that looks at them.
func TestFilesBesideTheUKI(t *testing.T) {
	s := secureLab(t)
	uki := s.ours.sign(t, s.uki(t, "loglevel=7 "+pin(s.image))) // the kernel says how large the initrd was
	const size = 6 << 20                                        // bytes, by which one is told from none
	large := written(t, strings.Repeat("extension", size/9))
	for _, c := range []struct {
		name  string
		files map[string]string
		added bool
	}{
		{"none", nil, false},
		// FAT as others write it may have any character in a name. The stub would make a
		// path of it; the firmware doesn't open such a file.
		{"credential with a path for a name", map[string]string{"loader/credentials/Z..Z..Zusr.cred": large}, false},
		{"system extension", map[string]string{bootProgram + ".extra.d/evil.sysext.raw": large}, true},
		{"configuration extension", map[string]string{bootProgram + ".extra.d/evil.confext.raw": large}, true},
		{"credentials", map[string]string{
			bootProgram + ".extra.d/large.cred":     large,
			"loader/credentials/" + files + ".cred": nullCredential(t, files, writes),
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			esp := map[string]string{bootProgram: uki}
			for name, file := range c.files {
				esp[name] = file
			}
			console := s.bootWith(t, esp, slashes, givenUp)
			checkBoots(t, console, s.image)
			checkEnforced(t, console)
			if got, want := console.Guest()["cmdline"], pin(s.image); !strings.Contains(got, want) || console.Has(ran) {
				t.Errorf("the command line is %q", got)
			}
			// The twin without them shows that they did arrive.
			info, err := os.Stat(s.initrd)
			if err != nil {
				t.Fatal(err)
			}
			if got := freedKiB(t, console)*1024 > int(info.Size())+size/2; got != c.added {
				t.Errorf("the kernel had %d KiB of initrds, ours has %d: that the stub added some is %v, want %v", freedKiB(t, console), info.Size()/1024, got, c.added)
			}
		})
	}
}

// With systemd in the initramfs a credential beside the UKI writes files as root before
// anything is verified; our dracut module keeps them out, and so
// does an argument.
func TestDracutKeepsCredentialsOut(t *testing.T) {
	s := secureLab(t)
	d := shared.debian(t)
	credential := nullCredential(t, files, writes)
	// As dracut makes it without the module's /init.
	plain := overlaid(t, d.initrd, []entry{{path: "init", content: "usr/lib/systemd/systemd", link: true}})
	for _, c := range []struct {
		name, arguments, initrd string
		runs                    bool
	}{
		{"by the module", "", d.initrd, false},
		{"not by systemd", "", plain, true},
		{"by an argument", " systemd.import_credentials=no", plain, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			uki := filepath.Join(t.TempDir(), "dracut.efi")
			if _, err := shared.mkimage("uki", "build", "--stub", s.stub, "--linux", d.kernel, "--initrd", c.initrd, "--image", d.image,
				"--cmdline", consoleArguments+"rd.emergency=poweroff"+c.arguments, "--output", uki); err != nil {
				t.Fatal(err)
			}
			b := base{repo: shared.path("debian-repo"), disk: d.disk, image: d.image}
			disk := changedDisk(t, b, func(t *testing.T, b base, disk string) {
				putESP(t, disk, bootProgram, s.ours.sign(t, uki))
				putESP(t, disk, "loader/credentials/"+files+".cred", credential)
			})
			variables := filepath.Join(t.TempDir(), "variables")
			if _, err := run("cp", s.variables, variables); err != nil {
				t.Fatal(err)
			}
			m := vm.Machine{
				Name: t.Name(), Disk: disk, Memory: 1536, Firmware: &vm.Firmware{Code: secureCode, Variables: variables, Secure: true},
				Credentials: []string{"composefs.proof=yes"}, SecondPort: filepath.Join(t.ArtifactDir(), "proof"),
			}
			until, up := givenUp, "proof done"
			if c.arguments != "" { // nothing asks for the proof then
				until, up = login, "login: "
			}
			console, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), debianLimit, until)
			if err != nil {
				t.Fatalf("%v\n%s", err, console.Tail(40))
			}
			t.Logf("%.1f s", console.Took.Seconds())
			if console.Has(ran) != c.runs {
				t.Errorf("the attacker has written: %v, want %v\n%s", console.Has(ran), c.runs, console.Tail(40))
			}
			proof, err := os.ReadFile(m.SecondPort)
			if err != nil || !strings.Contains(string(proof)+console.Text, up) {
				t.Errorf("it doesn't boot: error %v\n%s\n%s", err, proof, console.Tail(40))
			}
		})
	}
}

// slashes puts a slash in the place of each Z in the long names on the EFI system
// partition.
func slashes(t *testing.T, _ base, disk string) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const (
		row      = 32   // bytes of a directory entry
		longName = 0x0f // attribute of a part of a long name
		window   = 80 << 20
	)
	start := partitionOffset(t, disk, espPartition)
	image := make([]byte, window)
	if _, err := f.ReadAt(image, start); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(image); at += row {
		entry := image[at : at+row]
		if entry[11] != longName || entry[12] != 0 || !bytes.Contains(entry, []byte(".\x00Z\x00")) && !bytes.Contains(entry, []byte("Z\x00u\x00")) {
			continue
		}
		changed := bytes.ReplaceAll(entry, []byte("Z\x00"), []byte("/\x00"))
		if _, err := f.WriteAt(changed, start+int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}
