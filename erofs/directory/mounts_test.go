package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunInPrivateMounts(m)) }

func mount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Fatalf("mount %s at %s: %v", fstype, target, err)
	}
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
}

func TestWhatIsMountedInsideIsRefusedByName(t *testing.T) {
	testutil.RequireRoot(t)
	for _, c := range []struct {
		name, at string
		mount    func(t *testing.T, at string)
		want     string
	}{
		{"proc", "proc", func(t *testing.T, at string) { mount(t, "proc", at, "proc", 0) }, "another file system (proc) is mounted at "},
		{"tmpfs", "a/b", func(t *testing.T, at string) { mount(t, "tmpfs", at, "tmpfs", 0) }, "another file system (tmpfs) is mounted at "},
		{"a directory of the same file system", "a/b", func(t *testing.T, at string) { mount(t, filepath.Join(at, "../c"), at, "", unix.MS_BIND) }, "is mounted at "},
		{"a file of another", "f", func(t *testing.T, at string) { mount(t, "/proc/version", at, "", unix.MS_BIND) }, "something else is mounted at "},
		{"a device", "null", func(t *testing.T, at string) { mount(t, "/dev/null", at, "", unix.MS_BIND) }, "something else is mounted at "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"a/b", "a/c", "proc", "boot"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "f"), "content")
			write(t, filepath.Join(dir, "null"), "content")
			if _, err := read(t, dir); err != nil {
				t.Fatal("without a mount:", err)
			}
			at := filepath.Join(dir, c.at)
			c.mount(t, at)
			_, err := read(t, dir)
			var e *directory.MountError
			if !errors.As(err, &e) || e.Path != at || !strings.Contains(err.Error(), c.want+at) {
				t.Errorf("found %v, want %s%s", err, c.want, at)
			}
		})
	}
}

func TestMountsCanBeEmptyDirectoriesOrIncluded(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	for _, d := range []string{"m", "boot"} {
		at := filepath.Join(dir, d)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		mount(t, "tmpfs", at, "tmpfs", 0)
		write(t, filepath.Join(at, "f"), "x")
	}
	boot := func(o *directory.Options) { o.Empty = []string{"boot"} }
	if _, err := read(t, dir, boot); err == nil || !strings.HasSuffix(err.Error(), "/m") {
		t.Errorf("found %v, want a refusal of m: boot isn't looked into", err)
	}
	n := mustRead(t, dir, boot, func(o *directory.Options) { o.Mounts = directory.EmptyMounts }).Lookup("m")
	if n == nil || n.Len() != 0 || n.Perm != 0o755 || n.Mtime.Sec != 0 || len(n.Xattrs()) > 0 {
		t.Errorf("empty: %+v", n)
	}
	n = mustRead(t, dir, boot, func(o *directory.Options) { o.Mounts = directory.IncludeMounts }).Lookup("m")
	if n == nil || n.Lookup("f") == nil || n.Perm != 0o777|unix.S_ISVTX {
		t.Errorf("included: %+v", n)
	}
	// A directory that is itself a mount is as good as any other.
	if _, err := read(t, filepath.Join(dir, "m")); err != nil {
		t.Error(err)
	}
}
