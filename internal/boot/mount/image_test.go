package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

var content = bytes.Repeat([]byte("o"), 1234)

// objects makes a directory that holds the golden image's one object.
func objects(t *testing.T, elem ...string) *os.File {
	t.Helper()
	dir := mkdir(t, elem...)
	mkdir(t, dir.Name(), "5a")
	if err := os.WriteFile(filepath.Join(dir.Name(), "5a", strings.Repeat("5a", 31)), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A name with what separates and escapes options in it.
const oddName = `a,b:c\d e`

// Whatever the kernel lacks down to 6.1, the same files are there, and nothing is
// left over but the mount that was asked for.
func TestAnImageMountsOnOlderKernels(t *testing.T) {
	testutil.RequireRoot(t)
	old := []kernel.Feature{kernel.OverlayFD, kernel.OverlayAppend}
	for _, c := range []struct {
		name string
		off  []kernel.Feature
	}{
		{"as 6.18", nil},
		{"as 6.12: layers by name", old[:1]},
		{"as 6.6: layers in one string, a loop device", append(old, kernel.EROFSFile)},
		{"as 6.1: plain lower layers", append(old, kernel.EROFSFile, kernel.OverlayVerity, kernel.OverlayData)},
	} {
		for _, writable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, writable %t", c.name, writable), func(t *testing.T) {
				dir, k := t.TempDir(), kernel.New(c.off...)
				temp := mkdir(t, dir, "tmp")
				t.Setenv("TMPDIR", temp.Name())
				i := mount.Image{
					Source: "composefs:test", File: image(t, dir), Hides: true, ReadOnly: !writable,
					Objects: []*os.File{mkdir(t, dir, "empty"), objects(t, dir, oddName)},
				}
				if writable {
					memory, err := mount.Memory("tmpfs", "mode=0755")
					if err != nil {
						t.Fatal(err)
					}
					attach(t, memory, mkdir(t, dir, "memory"))
					i.Upper, i.Work = mkdir(t, dir, "memory", "upper "+oddName), mkdir(t, dir, "memory", "work "+oddName)
				}
				root, err := i.Mount(k)
				if err != nil {
					t.Fatal(err)
				}
				attach(t, root, mkdir(t, dir, "root"))
				at := filepath.Join(dir, "root")
				checkSource(t, at, "composefs:test")
				checkObjectsHidden(t, at)
				if left, err := os.ReadDir(temp.Name()); err != nil || len(left) > 0 {
					t.Errorf("in the temporary directory is left: %v, %v", left, err)
				}
				if !writable {
					checkFiles(t, at, content)
					return
				}
				if err := os.WriteFile(filepath.Join(at, "new"), nil, 0o644); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Join(i.Upper.Name(), "new")); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// checkObjectsHidden looks for names of the object store in the root.
func checkObjectsHidden(t *testing.T, root string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) == 0 {
		t.Errorf("list the root: %d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if len(e.Name()) == 2 {
			t.Errorf("the root shows %s of the object store", e.Name())
		}
	}
}

func TestAnImageIsRefusedWhereItsOptionsCannotBeHonoured(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	f, o := image(t, dir), objects(t, dir, "objects")
	for _, c := range []struct {
		name  string
		off   kernel.Feature
		image mount.Image
		says  string
	}{
		{"verity", kernel.OverlayVerity, mount.Image{Verity: true, Hides: true}, "came with Linux 6.6"},
		{"objects that would be seen", kernel.OverlayData, mount.Image{}, "came with Linux 6.5"},
	} {
		c.image.File, c.image.Objects = f, []*os.File{o}
		root, err := c.image.Mount(kernel.New(c.off))
		if err == nil {
			root.Close()
		}
		var missing *kernel.MissingError
		if !errors.As(err, &missing) || missing.Feature != c.off || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want a MissingError that says %q", c.name, err, c.says)
		}
	}
}

// Files without fs-verity, which this kernel need not have, are not read.
func TestVerityRefusesToReadWhatIsNotProtected(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	root, err := mount.Image{Source: "v", File: image(t, dir), Objects: []*os.File{objects(t, dir, "objects")}, Verity: true}.Mount(kernel.New())
	if err != nil {
		t.Fatal(err)
	}
	attach(t, root, mkdir(t, dir, "root"))
	if _, err := os.ReadFile(filepath.Join(dir, "root/regular-external")); !errors.Is(err, unix.EIO) {
		t.Errorf("an object without fs-verity: %v, want EIO", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "root/regular-inline")); string(b) != "hihi" {
		t.Errorf("an inline file: %q, %v", b, err)
	}
}

func TestOwnersFollowTheUserNamespace(t *testing.T) {
	testutil.RequireRoot(t)
	c := exec.Command("sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 70000, Size: 1000}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 80000, Size: 1000}},
	}
	if err := c.Start(); err != nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	defer func() { _, _ = c.Process.Kill(), c.Wait() }()
	userns := open(t, filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "ns/user"))
	for _, off := range [][]kernel.Feature{nil, {kernel.OverlayFD, kernel.OverlayAppend, kernel.EROFSFile}} {
		dir := t.TempDir()
		root, err := mount.Image{Source: "m", File: image(t, dir), Objects: []*os.File{objects(t, dir, "objects")}, UserNS: userns}.Mount(kernel.New(off...))
		if err != nil {
			t.Fatal(err)
		}
		attach(t, root, mkdir(t, dir, "root"))
		info, err := os.Stat(filepath.Join(dir, "root/regular-inline"))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 70000 || st.Gid != 80000 {
			t.Errorf("without %v: owner %d:%d, want 70000:80000", off, st.Uid, st.Gid)
		}
	}
}

func TestAMountIsFoundByItsDirectory(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	at := mkdir(t, dir, oddName)
	if _, err := mount.At(at); !errors.Is(err, mount.ErrNotMounted) {
		t.Errorf("before: %v, want ErrNotMounted", err)
	}
	m, err := mount.Memory("tmpfs", "mode=0755")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := mount.Attach(m, at, ""); err != nil {
		t.Fatal(err)
	}
	found, err := mount.At(m)
	if found.Type != "tmpfs" || found.Source != "tmpfs" || err != nil {
		t.Errorf("found %+v, %v, want a tmpfs", found, err)
	}
	if err := mount.Unmount(at.Name()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmount what is open: %v, want EBUSY", err)
	}
	m.Close()
	if err := mount.Unmount(at.Name()); err != nil {
		t.Error(err)
	}
	if err := mount.Unmount(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unmount nothing: %v", err)
	}
}

func TestAttributesAreSetAndTakenOff(t *testing.T) {
	testutil.RequireRoot(t)
	m, err := mount.Memory("tmpfs")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := mount.SetAttributes(m, unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NODEV); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(m.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Flags&unix.ST_NOEXEC == 0 || st.Flags&unix.ST_NODEV != 0 || st.Flags&unix.ST_NOSUID == 0 {
		t.Errorf("flags are %#x", st.Flags)
	}
}
