package setup_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// faults are the calls to the kernel that a boot depends on, each with the error
// that it is made to return, first at its first use, then at its second …
var faults = []string{
	"fsopen:EPERM", "fsconfig:EINVAL", "fsmount:EPERM", "fspick:EPERM", "open_tree:EPERM", "move_mount:EPERM", "mount_setattr:EPERM", "umount2:EBUSY",
	"statx:EIO", "newfstatat:EIO", "fstat:EIO", "fstatfs:EIO", "openat:EIO", "openat2:EACCES", "mkdirat:ENOSPC", "readlinkat:EIO", "symlinkat:EROFS",
	"fchmod:EPERM", "fchown:EPERM", "fgetxattr:EIO", "fsetxattr:ENOSPC", "linkat:ENOSPC", "renameat:ENOSPC", "fsync:EIO",
	"memfd_create:EPERM", "memfd_create:EINVAL", "sysinfo:EPERM", "getrusage:EPERM", "pread64:EIO", "ioctl:EIO", "flock:ENOLCK",
}

// observed runs a command in a mount namespace of its own and writes down what it
// did: its messages, its record, and what is mounted before and after.
const observed = `out=$1; shift
rm -rf /run/composefs/boot.json /run/systemd; touch "$out/kmsg" "$out/record"
mount --bind "$out/kmsg" /dev/kmsg
cat /proc/self/mountinfo > "$out/before"
"$@" 2> "$out/stderr"; status=$?
cat /proc/self/mountinfo > "$out/after"
cp -f /run/composefs/boot.json "$out/record" 2> "$out/absent"
exit $status`

// An outcome is what a boot with a failing call came to.
type outcome struct {
	injected bool // the call was used often enough to fail
	status   int
	said     string // to the kernel's log, or to standard error if opening that failed
	record   string
	changed  bool // what is mounted
}

// run boots, with the call's use number n failing in each thread.
func run(t *testing.T, strace, program, fault string, n int, args []string) outcome {
	t.Helper()
	dir := t.TempDir()
	call, errno, _ := strings.Cut(fault, ":")
	inject := fmt.Sprintf("inject=%s:error=%s:when=%d", call, errno, n)
	c := exec.Command("sh", append([]string{"-c", observed, "sh", dir, strace, "-f", "-qq", "-o", dir + "/trace", "-e", "trace=" + call, "-e", inject, program}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return outcome{strings.Contains(read("trace"), "(INJECTED)"), c.ProcessState.ExitCode(), read("kmsg") + read("stderr"), read("record"), mounted(read("before")) != mounted(read("after"))}
}

// mounted leaves the numbers of the mounts out of a mountinfo: a root that was put
// back has another one.
func mounted(info string) string {
	var lines []string
	for line := range strings.Lines(info) {
		lines = append(lines, strings.Join(strings.Fields(line)[2:], " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// statuses are those that a refusal may have here: all but those of usage.
var statuses = []int{int(setup.CodeConfig), int(setup.CodeNotFound), int(setup.CodeMismatch), int(setup.CodeSignature), int(setup.CodeKernel), int(setup.CodeMount), int(setup.CodeSelfTest)}

// Whatever call to the kernel fails, and whenever, the boot is refused with a
// status and a reason, nothing is left mounted and the old root is where it was; or
// the call was one that can be done without, and the new root is there.
func TestAnyFailedCallIsARefusal(t *testing.T) {
	strace := testutil.RequireTool(t, "strace")
	program := buildProgram(t)
	for _, c := range []struct {
		name, policy, cmdline string
	}{
		{"hashed in memory, sealed", "[verify]\nfs-verity = \"userspace\"\n[root]\ntransient = true\nsysroot = \"ro\"\n[var]\nmount = \"volatile\"\n", "composefs.ref=os/stable"},
		{"with state", "[verify]\nfs-verity = \"off\"\n[etc]\nmount = \"overlay\"\n[var]\nmount = \"bind\"\n", "composefs=IMAGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, key, dir := newDisk(t), newKey(t), t.TempDir()
			d.seal(t, key, 7)
			d.link(t, "composefs/images/refs/os/stable", "../../"+d.image.Hex())
			writeTestFile(t, dir+"/conf.toml", c.policy)
			writeTestFile(t, dir+"/keys/k.pub", string(key.Public("k").Text()))
			args := []string{"--sysroot", d.root, "--config", dir + "/conf.toml", "--keys", dir + "/keys", "--cmdline", strings.ReplaceAll(c.cmdline, "IMAGE", d.image.Hex())}
			for _, fault := range faults {
				sweep(t, strace, program, fault, args, func() {})
			}
		})
	}
}

// A physical root on a device, read-only at first, for the steps that only this one
// has: it becomes writable, and is marked for systemd.
func TestAnyFailedCallOnADeviceIsARefusal(t *testing.T) {
	strace := testutil.RequireTool(t, "strace")
	d, dir := newDeviceDisk(t), t.TempDir()
	program := buildProgram(t)
	writeTestFile(t, dir+"/conf.toml", "[verify]\nsignature = \"optional\"\nfs-verity = \"off\"\n[etc]\nmount = \"root\"\n")
	key := newKey(t)
	d.seal(t, key, 7)
	// A good boot leaves the file system writable, for the next one too.
	readOnly := func() {
		if err := unix.Mount("", d.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	writeTestFile(t, dir+"/keys/k.pub", string(key.Public("k").Text()))
	args := []string{"--sysroot", d.root, "--config", dir + "/conf.toml", "--keys", dir + "/keys", "--cmdline", "composefs=" + d.image.Hex()}
	for _, fault := range []string{"fspick:EPERM", "fsconfig:EROFS", "mount_setattr:EPERM", "fstatfs:EIO", "statx:EIO", "symlinkat:EROFS", "mkdirat:ENOSPC"} {
		sweep(t, strace, program, fault, args, readOnly)
	}
}

// newDeviceDisk has the physical root on a device.
func newDeviceDisk(t *testing.T) disk {
	t.Helper()
	device := loopDevice(t)
	mountTmpfs(t, "/run")
	d := disk{root: filepath.Join(t.TempDir(), "sysroot"), device: device}
	if err := errors.Join(os.Mkdir(d.root, 0o755), unix.Mount(device, d.root, "ext4", 0, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
	d.fill(t, initProgram)
	return d
}

func TestTheDeviceIsMarkedForSystemd(t *testing.T) {
	d := newDeviceDisk(t)
	if err := d.boot(t, "", ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
	var st unix.Stat_t
	link, err := os.Readlink(volatileRoot)
	if err := errors.Join(err, unix.Stat(d.path("sysroot"), &st)); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)); link != want {
		t.Errorf("%s, want %s", link, want)
	}
	if setup.HasSiblings(0) || setup.HasSiblings(st.Dev) {
		t.Error("a device without a btrfs has siblings")
	}
}

// maxUses is more often than any call is used.
const maxUses = 200

func sweep(t *testing.T, strace, program, fault string, args []string, before func()) {
	for n := 1; n < maxUses; n++ {
		before()
		o := run(t, strace, program, fault, n, args)
		what := fmt.Sprintf("%s, use %d: %+v", fault, n, o)
		switch {
		case !o.injected:
			return
		case o.status == 0:
			if !strings.Contains(o.record, `"seal":{"status":"valid"`) || !o.changed {
				t.Errorf("%s, want a good boot if it isn't refused", what)
			}
			continue
		}
		if !slices.Contains(statuses, o.status) || !strings.Contains(o.said, "composefs: boot refused, exit status "+strconv.Itoa(o.status)) || strings.Count(o.said, "\n") < 2 {
			t.Errorf("%s, want a refusal with its reason", what)
		}
		// What can't be unmounted stays.
		if o.changed && !strings.HasPrefix(fault, "umount2:") {
			t.Errorf("%s, want nothing left mounted", what)
		}
	}
	t.Errorf("%s: more than %d uses", fault, maxUses)
}
