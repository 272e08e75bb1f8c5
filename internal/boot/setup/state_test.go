package setup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// Wherever the power goes while the state of a deployment is made, the next boot finds a
// directory that is whole or none: never one that lacks its mode, owner or label.
func TestACutBootLeavesNoUnfinishedState(t *testing.T) {
	strace := testutil.RequireTool(t, "strace")
	program := buildProgram(t)
	dir := t.TempDir()
	writeTestFile(t, dir+"/conf.toml", "[verify]\nfs-verity = \"off\"\n[etc]\nmount = \"overlay\"\n[var]\nmount = \"bind\"\n")
	for _, call := range []string{"mkdirat", "fchown", "fchmod", "fsetxattr", "fsync", "renameat"} {
		cuts := 0
		for n := 1; ; n++ {
			d := newDisk(t)
			args := []string{"--sysroot", d.root, "--config", dir + "/conf.toml", "--keys", t.TempDir(), "--cmdline", "composefs=" + d.image.Hex()}
			if !cut(t, strace, program, call, n, args) {
				break
			}
			cuts++
			checkFinished(t, d, call, n, false)
			if err := d.boot(t, "", ""); err != nil {
				t.Fatalf("%s, use %d: the boot after it: %v", call, n, err)
			}
			checkFinished(t, disk{root: d.path("sysroot"), image: d.image}, call, n, true)
		}
		if cuts == 0 {
			t.Errorf("%s isn't used at all", call)
		}
	}
}

// cut boots in a mount namespace of its own and kills the program after its n-th use of
// the call; false if it isn't used so often.
func cut(t *testing.T, strace, program, call string, n int, args []string) bool {
	t.Helper()
	inject := "inject=" + call + ":signal=KILL:when=" + strconv.Itoa(n)
	c := exec.Command(strace, append([]string{"-f", "-qq", "-o", filepath.Join(t.TempDir(), "trace"), "-e", "trace=" + call, "-e", inject, program}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	if err == nil {
		return false
	}
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("%s, use %d: %v\n%s", call, n, err, out)
	}
	return true
}

// checkFinished checks the directories that have the properties of the image's.
func checkFinished(t *testing.T, d disk, call string, n int, must bool) {
	t.Helper()
	upper := d.path("state/deploy", d.image.Hex(), "etc/upper")
	var st unix.Stat_t
	if err := unix.Stat(upper, &st); err != nil {
		if must {
			t.Errorf("%s, use %d: %v", call, n, err)
		}
		return
	}
	label := make([]byte, 64)
	size, err := unix.Getxattr(upper, "security.selinux", label)
	if st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 || err != nil || string(label[:size]) != etcLabel {
		t.Errorf("%s, use %d: the state of /etc has mode %o, owner %d:%d, label %q, %v", call, n, st.Mode, st.Uid, st.Gid, label[:max(size, 0)], err)
	}
	left, _ := filepath.Glob(d.path("state/deploy", d.image.Hex(), "etc/.composefs-new-*"))
	if must && len(left) > 0 {
		t.Errorf("%s, use %d: the next boot left %v", call, n, left)
	}
}

// fullDevice is a physical root on an ext4 without a free block or inode.
func fullDevice(t *testing.T, prepare func(disk)) disk {
	t.Helper()
	d := newDeviceDisk(t)
	if prepare != nil {
		prepare(d)
	}
	f, err := os.Create(d.path("full"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Blocks first, then what is left of them by small pieces, then the inodes.
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; _, err = f.Write(make([]byte, size)) {
		}
	}
	for i := 0; err == nil || i == 0; i++ {
		err = os.WriteFile(d.path("full-"+strconv.Itoa(i)), nil, 0o644)
	}
	return d
}

// makeRoom does what the refusal says.
func makeRoom(t *testing.T, root string) {
	t.Helper()
	files, err := filepath.Glob(root + "/full*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// On a disk without room a new deployment comes up with its state in memory, aloud and
// on record; where the policy doesn't want that, it doesn't come up.
func TestAFullDiskStillBootsANewDeployment(t *testing.T) {
	for _, c := range []struct{ name, policy, record, etc string }{
		{"changes and a directory", "", `"no-room":["etc","var"]`, "host"},
		{"only changes", "[var]\nmount = \"none\"\n", `"no-room":["etc"]`, "host"},
		{"nothing kept", "[etc]\nmount = \"transient\"\n[var]\nmount = \"volatile\"\n", `"no-room":[]`, "host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fullDevice(t, nil)
			if err := d.boot(t, "", c.policy); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
			wantFile(t, d.path("etc/hostname"), c.etc)
			writeTestFile(t, d.path("etc/new"), "e")
			if !strings.Contains(c.policy, "none") {
				writeTestFile(t, d.path("var/new"), "v")
			}
			if _, err := os.Stat(d.path("sysroot/state/deploy", d.image.Hex(), "etc/upper/new")); err == nil {
				t.Error("what is in memory is on the disk too")
			}
			if record, err := os.ReadFile(recordPath); err != nil || !strings.Contains(string(record), c.record) {
				t.Errorf("record %s, %v; want %s", record, err, c.record)
			}
			// Make room and boot again, as the console says.
			at := d.path("sysroot")
			makeRoom(t, at)
			if err := unix.Mount(at, d.root, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			if err := d.boot(t, "", c.policy); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
			if record, err := os.ReadFile(recordPath); err != nil || !strings.Contains(string(record), `"no-room":[]`) {
				t.Errorf("with room: record %s, %v", record, err)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		d := fullDevice(t, nil)
		before := mounts(t)
		err := d.boot(t, "", "[failure]\nfull-disk = \"refuse\"\n")
		if setup.CodeOf(err) != setup.CodeMount || !strings.Contains(err.Error(), "no room for the state of a new deployment") || kindOf(err) != setup.NoRoom {
			t.Errorf("status %d, %v", setup.CodeOf(err), err)
		}
		if after := mounts(t); after != before {
			t.Errorf("mounts before\n%safter\n%s", before, after)
		}
		makeRoom(t, d.root)
		if err := d.boot(t, "", "[failure]\nfull-disk = \"refuse\"\n"); err != nil {
			t.Errorf("with room: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
	})
}

// The state of a deployment that has some is never left out: on a full disk it is
// mounted, and where that isn't possible the boot is refused.
func TestAFullDiskKeepsTheStateThatIsThere(t *testing.T) {
	keep := func(d disk) {
		deploy := d.path("state/deploy", d.image.Hex())
		writeTestFile(t, deploy+"/etc/upper/hostname", "mine")
		writeTestFile(t, deploy+"/var/kept", "k")
	}
	t.Run("whole", func(t *testing.T) {
		d := fullDevice(t, func(d disk) {
			keep(d)
			if err := os.Mkdir(d.path("state/deploy", d.image.Hex(), "etc/work"), 0o755); err != nil {
				t.Fatal(err)
			}
		})
		if err := d.boot(t, "", ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
		wantFile(t, d.path("etc/hostname"), "mine")
		wantFile(t, d.path("var/kept"), "k")
		if record, err := os.ReadFile(recordPath); err != nil || !strings.Contains(string(record), `"no-room":[]`) {
			t.Errorf("record %s, %v", record, err)
		}
	})
	t.Run("changes without what it takes to mount them", func(t *testing.T) {
		d := fullDevice(t, keep)
		err := d.boot(t, "", "")
		if setup.CodeOf(err) != setup.CodeMount || !strings.Contains(err.Error(), "etc/upper can't be mounted") || kindOf(err) != setup.NoRoomForChanges {
			t.Errorf("status %d, %v", setup.CodeOf(err), err)
		}
		makeRoom(t, d.root)
		if err := d.boot(t, "", ""); err != nil {
			t.Fatalf("with room: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
		wantFile(t, d.path("etc/hostname"), "mine")
	})
}

// What stands in the way of an unfinished directory is refused, not followed.
func TestAnUnfinishedDirectoryIsNoWayOut(t *testing.T) {
	d := newDisk(t)
	d.link(t, "state/.composefs-new-deploy", "/etc")
	if err := d.boot(t, "", ""); setup.CodeOf(err) != setup.CodeMount || !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Errorf("status %d, %v", setup.CodeOf(err), err)
	}
}
