package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// A dracut is an initramfs of Debian's dracut with our module, and what it boots: the
// disk of the tiny root, whose init says what it finds and needs no minute to start.
// Its good twin, a whole Debian, is TestDracut.
type dracutRow struct {
	name      string
	only      string // "systemd" or "hooks", where it is about that
	policy    string
	keyless   bool
	arguments func(base) string // default: pin the image
	root      string            // default: the partition of its name
	evil      bool              // the disk has no partitions, but a plain root with an init of its own
	machine   func(*testing.T, *vm.Machine)
	initrd    []entry
	says      string // on the console
	status    int    // of the refusal, if it is one of composefs-setup-root's
	boots     string // what is "/" then, "" if nothing boots
}

const (
	theSealed = "overlay composefs:"
	theEvil   = "ext4 /dev/vda"
)

// ended is a line with which a machine has come to its end, whichever.
var ended = regexp.MustCompile(`reboot: (System halted|Power down)|Kernel panic|GUEST done`)

// dracut makes the initramfs for a row.
func (l *lab) dracut(t *testing.T, r dracutRow) (kernel, initrd string) {
	t.Helper()
	b := need(t)
	testutil.RequireTool(t, "mmdebstrap")
	testutil.RequireRoot(t)
	root, err := run("../../scripts/debian-root")
	if err != nil {
		t.Fatalf("make a Debian root: %v", err)
	}
	kernels, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("%s has the kernels %v, want one", root, kernels)
	}
	keys := b.pub
	if r.keyless {
		keys = ""
	}
	name := fmt.Sprintf("dracut-%x.img", hash(fmt.Sprint(r.only, keys, r.policy)))
	return kernels[0], l.once(t, name, func(path string) error {
		args := []string{root, keys, l.path("composefs-setup-root"), path, ""}
		if r.policy != "" {
			args[4] = path + ".toml"
			if err := os.WriteFile(args[4], []byte(r.policy), 0o644); err != nil {
				return err
			}
		}
		if r.only == hooks {
			args = append(args, "--omit", "systemd")
		}
		_, err := run("../../scripts/dracut-initramfs", args...)
		return err
	})
}

// evilDisk has a plain file system with the tiny root, which is what an attacker would
// put in the place of ours.
func (l *lab) evilDisk(t *testing.T) string {
	t.Helper()
	need(t)
	return l.once(t, "evil.img", func(path string) error {
		_, err := run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", l.path("root-1"), path, "128M")
		return err
	})
}

func (r dracutRow) boot(t *testing.T) vm.Console {
	t.Helper()
	b := need(t)
	kernel, initrd := shared.dracut(t, r)
	m := vm.Machine{Name: t.Name(), Kernel: kernel, Initrd: overlaid(t, initrd, r.initrd), Disk: b.disk, Memory: 768}
	root := "root=PARTLABEL=root "
	if r.evil {
		m.Disk, root = shared.evilDisk(t), "root=/dev/vda "
	}
	if r.root != "" {
		root = r.root + " "
	}
	arguments := pin(b.image)
	if r.arguments != nil {
		arguments = r.arguments(b)
	}
	m.CommandLine = machineArguments + " ro " + root + arguments
	if r.machine != nil {
		r.machine(t, &m)
	}
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, ended)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(40))
	}
	t.Logf("%.1f s", c.Took.Seconds())
	return c
}

func (r dracutRow) check(t *testing.T, c vm.Console) {
	t.Helper()
	if !strings.Contains(strings.ReplaceAll(c.Text, "\r", ""), r.says) {
		t.Errorf("the console has no %q:\n%s", r.says, c.Tail(40))
	}
	if r.boots != "" {
		facts := c.Guest()
		if facts["done"] != "yes" || !strings.HasPrefix(facts["mount /"], r.boots) {
			t.Errorf("/ is mounted as %q, want %q\n%s", facts["mount /"], r.boots, c.Tail(40))
		}
		return
	}
	if r.status != 0 {
		checkRefused(t, c, r.status, r.says)
	}
	if c.Has("GUEST init=reached") {
		t.Errorf("the init of another root ran:\n%s", c.Tail(40))
	}
	if !c.Has("no shell here, the boot ends") && !c.Has("shell was left") {
		t.Errorf("want no shell, and that said:\n%s", c.Tail(40))
	}
}

func nothing(base) string { return "" }

func pinAnd(more string) func(base) string {
	return func(b base) string { return pin(b.image) + " " + more }
}

const systemd, hooks = "systemd", "hooks"

// With dracut's initramfs nothing is booted but what was verified, and nobody gets a
// shell, whatever the command line leaves out or asks for.
func TestDracutWithSystemd(t *testing.T) { runDracut(t, systemd) }

// The same holds for one without systemd, which runs hooks.
func TestDracutWithoutSystemd(t *testing.T) { runDracut(t, hooks) }

func runDracut(t *testing.T, kind string) {
	for _, r := range dracutRows {
		if r.only != "" && r.only != kind {
			continue
		}
		r.only = kind
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.check(t, r.boot(t))
		})
	}
}

const (
	optionalArgument = "[verify]\nargument = \"optional\"\n"
	shellAllowed     = "[failure]\nshell = \"allow\"\n"
)

// leftShell are the programs that give a shell, as if somebody left it at once. The
// second shell of a boot is its end.
var leftShell = []entry{{path: "usr/sbin/sulogin", content: leaveShell}, {path: "usr/bin/setsid", content: leaveShell}}

const leaveShell = `#!/bin/sh
[ "$1" != --help ] || exit
echo "the shell was left, PCR 15 $(cat /sys/class/tpm/tpm0/pcr-sha256/15)" >/dev/console
[ ! -e /left ] || poweroff -f
: >/left
`

// swapRoot is somebody in a shell who puts another root in the place of the verified.
var swapRoot = []entry{{path: "usr/sbin/sulogin", content: "#!/bin/sh\necho the shell was left >/dev/console\n[ ! -e /left ] || poweroff -f\n: >/left\numount -l /sysroot\nmount -o ro /dev/vdb /sysroot\n"}}

func evilSecond(t *testing.T, m *vm.Machine) { m.MoreDisks = []string{shared.evilDisk(t)} }

// shareEvil shares the tiny root itself, shareRepo a root with our repository.
func shareEvil(t *testing.T, m *vm.Machine) {
	testutil.RequireFile(t, vm.FindShareProgram())
	need(t)
	m.Share = shared.path("root-1")
}

func shareRepo(t *testing.T, m *vm.Machine) {
	testutil.RequireFile(t, vm.FindShareProgram())
	dir, err := os.MkdirTemp("", "share-*") // a test's own has its name, which may have commas
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m.Share = dir
	if _, err := run("cp", "-a", need(t).repo, filepath.Join(m.Share, "composefs")); err != nil {
		t.Fatal(err)
	}
}

// skipUnit is a drop-in by a credential, which nobody has signed.
func skipUnit(_ *testing.T, m *vm.Machine) {
	for _, unit := range []string{"composefs-setup-root", "initrd-switch-root"} {
		m.Credentials = append(m.Credentials, "systemd.unit-dropin."+unit+".service=[Unit]\nConditionPathExists=/absent\n[Service]\nExecStartPre=\n")
	}
}

func shellInTPM(_ *testing.T, m *vm.Machine) { m.TPM = true }

// breakpoint is what rd.systemd.break= starts, which Debian's systemd doesn't have yet.
var breakpoint = []entry{{path: "usr/lib/systemd/system/breakpoint-pre-mount.service", content: `[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=sh -c 'echo GUEST init=reached >/dev/console; poweroff -f'
`}}

const noState = "[etc]\nmount = \"transient\"\n[var]\nmount = \"volatile\"\n"

var dracutRows = []dracutRow{
	{name: "good", boots: theSealed},
	{name: "no argument", arguments: nothing, evil: true, status: 3, says: "names no image"},
	{name: "no argument, which the policy permits", arguments: nothing, evil: true, policy: optionalArgument, boots: theEvil, says: "what is booted is unverified"},
	{name: "an argument, and the policy wants none", only: hooks, policy: optionalArgument, boots: theSealed},
	{name: "an argument, and another root", only: systemd, evil: true, status: 4, says: "has no directory composefs"},
	{name: "no root", root: "quiet", says: "no shell here"},

	{name: "another kind of root", root: "root=virtiofs:share", machine: shareEvil, status: 4, says: "has no directory composefs"},
	{name: "another kind of root with the image", only: hooks, root: "root=virtiofs:share", machine: shareRepo, policy: noState + "[verify]\nfs-verity = \"userspace\"\n", boots: theSealed},

	{name: "a device that doesn't come", root: "root=PARTLABEL=nowhere rd.retry=2 rd.timeout=5", says: "no shell here"},
	{name: "a shell before the mount", only: systemd, arguments: pinAnd("rd.break=pre-mount"), says: "no shell here"},
	{name: "a shell at the end", only: hooks, arguments: pinAnd("rd.break"), says: "no shell here"},
	{name: "a shell that the policy allows", arguments: pinAnd("rd.break=pre-mount"), policy: shellAllowed, initrd: leftShell, boots: theSealed, says: "the shell was left"},
	{name: "a shell that the policy allows, and another root", arguments: pinAnd("rd.break=pre-mount"), policy: shellAllowed, evil: true, initrd: leftShell, status: 4, says: "has no directory composefs"},
	{name: "a shell has another PCR 15", only: systemd, arguments: pinAnd("rd.break=pre-mount"), policy: shellAllowed + measure("require", ""), machine: shellInTPM,
		initrd: leftShell, boots: theSealed, says: "PCR 15 " + strings.ToUpper(extended("composefs-refused:8"))},
	{name: "a shell in which the root was swapped", only: systemd, arguments: pinAnd("rd.break"), policy: shellAllowed, initrd: swapRoot, machine: evilSecond,
		says: "something other than the verified image was mounted at /sysroot: the root isn't switched"},

	{name: "a unit that goes straight to the end", only: systemd, arguments: func(base) string { return "rd.systemd.unit=initrd-switch-root.target rd.timeout=5" }, evil: true, says: "no shell here"},
	{name: "a masked unit", only: systemd, arguments: func(base) string { return "rd.systemd.mask=composefs-setup-root.service" }, evil: true, status: 3, says: "names no image"},
	{name: "a unit skipped by a credential", only: systemd, arguments: nothing, machine: skipUnit, evil: true, status: 3, says: "names no image"},
	{name: "the emergency target", only: systemd, arguments: pinAnd("rd.systemd.unit=emergency.target"), says: "no shell here"},
	{name: "the rescue target", only: systemd, arguments: pinAnd("rd.systemd.unit=rescue.target"), says: "no shell here"},
	{name: "the debug shell", only: systemd, keyless: true, policy: "[failure]\nshell = \"deny\"\n", arguments: pinAnd("rd.systemd.unit=debug-shell.service"), says: "no shell here"},
	{name: "a debug shell that is asked for, without a key", only: systemd, keyless: true, policy: "[failure]\nshell = \"deny\"\n", arguments: pinAnd("rd.systemd.debug_shell=ttyS0"), boots: theSealed},
	{name: "a breakpoint of a newer systemd", only: systemd, arguments: pinAnd("rd.systemd.unit=breakpoint-pre-mount.service"), initrd: breakpoint, says: "no shell here"},
	{name: "another /usr, in single quotes", only: systemd, arguments: pinAnd("'mount.usr=/dev/vdb' mount.u\"srfstype=ext4\""), machine: evilSecond, says: "no shell here"},
	{name: "another /usr", only: systemd, arguments: pinAnd("mount.usr=/dev/vdb mount.usrfstype=ext4"), machine: evilSecond, says: "no shell here"},
}
