package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/test/vm"
)

// A hiddenRow is a signed UKI that isn't as it looks, or the good twin of one, and what a
// boot of it shows. mkimage uki verify and doctor say the same of the file.
type hiddenRow struct {
	name      string
	arguments string            // besides those that pin the image and find the root
	early     map[string]string // files in .ucode, which is unpacked before the initrd
	initrd    []entry           // put over the files of the initrd
	change    change            // of the root partition
	shows     func(*testing.T, secure, vm.Console)
	says      string // in the refusals by uki verify and doctor; good if empty
	warns     bool   // doctor warns of it, where uki verify refuses
}

const microcode = "kernel/x86/microcode/GenuineIntel.bin"

// A boot of what uki verify refuses shows why: nothing is started that verifies the root, or
// somebody else is trusted.
func TestWhatASignedUKIHides(t *testing.T) {
	s := secureLab(t)
	wrongPub, err := os.ReadFile(s.wrongPub)
	if err != nil {
		t.Fatal(err)
	}
	guest := entry{path: "other", program: "guest"}
	for _, r := range []hiddenRow{
		{name: "nothing", shows: ours},

		{name: "noinitrd", arguments: " noinitrd", shows: noRoot, says: "with noinitrd the kernel takes another initramfs, or none"},
		{name: "noinitrd after two dashes", arguments: " -- noinitrd", shows: ours},

		{name: "rdinit= of a program that isn't there", arguments: " rdinit=/bin/sh", shows: noRoot, says: "rdinit=/bin/sh has the kernel start that"},
		{name: "rdinit= of another program", arguments: " rdinit=/other", initrd: []entry{guest}, shows: otherProgram, says: "rdinit=/other has the kernel start that"},
		{name: "rdinit= of ours, beside another program", arguments: " rdinit=/other rdinit=/init", initrd: []entry{guest}, shows: ours},

		{name: "a relative init in /var", arguments: " init=var/other", change: programInVar, shows: programOfVar, says: "init=var/other starts a program that isn't part of the image", warns: true},
		{name: "an init of the image, by a relative name", arguments: " init=usr/sbin/init", change: programInVar, shows: ours},
		{name: "a helper of the kernel behind two dots", arguments: ` sysctl..kernel.core_pattern="|/var/other"`, change: programInVar, shows: coreHelper("|/var/other"),
			says: "names a program that the kernel starts as root", warns: true},

		{name: "a key in the microcode", early: map[string]string{microcode: "x", keysDir + "other.pub": string(wrongPub)}, change: sealByAnotherKey,
			shows: sealedBy("other"), says: "not microcode alone"},
		{name: "microcode alone, and a seal by another key", early: map[string]string{microcode: "x"}, change: sealByAnotherKey, shows: refused(6, "")},
		{name: "a policy in the microcode", early: map[string]string{microcode: "x", policyPath: "[verify]\nsignature = \"off\"\n"}, change: withoutSeal,
			shows: unsealed, says: "not microcode alone"},
		{name: "microcode alone, and no seal", early: map[string]string{microcode: "x"}, change: withoutSeal, shows: refused(6, "no seal")},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			program := s.ours.sign(t, r.program(t, s))
			checkSays(t, r.says, "uki", "verify", "--sb-cert", s.ours.cert, program)
			if r.warns {
				checkWarns(t, r.says, program)
			} else {
				checkSays(t, r.says, "doctor", program)
			}
			console := s.bootWith(t, map[string]string{bootProgram: program}, r.change, givenUp)
			r.shows(t, s, console)
		})
	}
}

// program makes the UKI by other means than mkimage uki build, which refuses it.
func (r hiddenRow) program(t *testing.T, s secure) string {
	t.Helper()
	dir, release := shared.kernel(t, "trixie")
	read := func(name string) []byte {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	sections := []uki.Section{
		{Name: ".osrel", Data: []byte("ID=tiny\nPRETTY_NAME=Tiny\n")},
		{Name: ".cmdline", Data: []byte(pin(s.image) + " " + consoleArguments + r.arguments)},
		{Name: ".uname", Data: []byte(release)},
	}
	if len(r.early) > 0 {
		sections = append(sections, uki.Section{Name: ".ucode", Data: read(archive(t, r.early))})
	}
	sections = append(sections,
		uki.Section{Name: ".initrd", Data: read(overlaid(t, s.initrd, r.initrd))},
		uki.Section{Name: ".linux", Data: read(filepath.Join(dir, "vmlinuz"))})
	program, err := uki.Build(read(s.stub), sections)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, string(program))
}

// archive is a file with a cpio archive of the files.
func archive(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	for path, content := range files {
		entry{path: path, content: content}.put(t, tree)
	}
	out := filepath.Join(t.TempDir(), "early.cpio")
	if _, err := run("sh", "-c", `cd "$1" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | cpio --quiet -o -H newc >"$2"`, "sh", tree, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkSays checks that mkimage refuses with these words, or doesn't if there are none.
func checkSays(t *testing.T, says string, args ...string) {
	t.Helper()
	out, err := exec.Command(shared.path("mkimage"), args...).CombinedOutput()
	if (err == nil) != (says == "") || !strings.Contains(string(out), says) {
		t.Errorf("mkimage %s: %v, want %q in:\n%s", args[0], err, says, out)
	}
}

// checkWarns checks that doctor warns of what wouldn't stop a boot.
func checkWarns(t *testing.T, says, program string) {
	t.Helper()
	out, err := exec.Command(shared.path("mkimage"), "doctor", program).CombinedOutput()
	if err != nil || !regexp.MustCompile("(?m)^warning: .*"+regexp.QuoteMeta(says)).Match(out) {
		t.Errorf("mkimage doctor: %v, want a warning %q in:\n%s", err, says, out)
	}
}

// programInVar puts the guest's program into the state of /var, as other.
func programInVar(t *testing.T, b base, disk string) {
	t.Helper()
	at := varOf(b) + "other"
	debugfs(t, disk, append(newDirs(t, b, disk, "."), "write "+shared.path("guest")+" "+at, "set_inode_field "+at+" mode 0100755")...)
}

// programOfVar shows that composefs-setup-root verified the root, and that another program
// than one of the image was started all the same.
func programOfVar(t *testing.T, s secure, c vm.Console) {
	t.Helper()
	checkBoots(t, c, s.image)
	if exe := c.Guest()["exe"]; exe != "/var/other" {
		t.Errorf("the first program is %q, want /var/other", exe)
	}
}

// coreHelper shows which program the kernel would start for a core dump.
func coreHelper(pattern string) func(*testing.T, secure, vm.Console) {
	return func(t *testing.T, s secure, c vm.Console) {
		t.Helper()
		checkBoots(t, c, s.image)
		if found := c.Guest()["core pattern"]; found != pattern {
			t.Errorf("kernel.core_pattern is %q, want %q", found, pattern)
		}
	}
}

// ours shows that composefs-setup-root verified the root, by our key.
func ours(t *testing.T, s secure, c vm.Console) {
	t.Helper()
	checkBoots(t, c, s.image)
	checkEnforced(t, c)
	if record := c.Guest()["boot.json"]; !strings.Contains(record, `"key-name":"good"`) {
		t.Errorf("boot.json doesn't name our key: %s", record)
	}
}

// refused shows that composefs-setup-root didn't hand over.
func refused(status int, says string) func(*testing.T, secure, vm.Console) {
	return func(t *testing.T, _ secure, c vm.Console) { checkRefused(t, c, status, says) }
}

// noRoot shows that the kernel started nothing of the initrd, and looked for a root itself.
func noRoot(t *testing.T, _ secure, c vm.Console) {
	t.Helper()
	if c.Has("GUEST init=reached") || len(c.Composefs()) > 0 || !c.Has("Unable to mount root fs") {
		t.Errorf("want a kernel that finds no root, found:\n%s", c.Tail(30))
	}
}

// otherProgram shows that another program than composefs-setup-root was the first.
func otherProgram(t *testing.T, _ secure, c vm.Console) {
	t.Helper()
	if !c.Has("GUEST init=reached") || len(c.Composefs()) > 0 {
		t.Errorf("want the other program to be started, and not composefs-setup-root, found:\n%s", c.Tail(30))
	}
}

// sealedBy shows that a seal counted by a key of this name, which isn't in the initrd.
func sealedBy(name string) func(*testing.T, secure, vm.Console) {
	return func(t *testing.T, s secure, c vm.Console) {
		t.Helper()
		checkBoots(t, c, s.image)
		if record := c.Guest()["boot.json"]; !strings.Contains(record, `"key-name":"`+name+`"`) {
			t.Errorf("boot.json doesn't name the key %q: %s", name, record)
		}
	}
}

// unsealed shows that nobody asked for a seal.
func unsealed(t *testing.T, s secure, c vm.Console) {
	t.Helper()
	checkBoots(t, c, s.image)
	if record := c.Guest()["boot.json"]; !strings.Contains(record, `"status":"not-required"`) {
		t.Errorf("boot.json says of the seal: %s", record)
	}
}
