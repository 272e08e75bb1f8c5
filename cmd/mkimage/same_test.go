package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A place is a file system and the circumstances under which a tree is made there
// and its image is built.
type place struct {
	name    string
	mount   func(t *testing.T, dir string)
	umask   int
	env     []string
	reverse bool // create the files in the opposite order
}

var places = []place{
	{"the file system of the tests", func(*testing.T, string) {}, 0o022, nil, false},
	{"tmpfs", mountTmpfs, 0o077, []string{"TZ=Pacific/Auckland"}, true},
	{"ext4", mountImage("ext4", "mke2fs", "-q", "-t", "ext4"), 0o000, []string{"LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"}, true},
	{"btrfs", mountImage("btrfs", "mkfs.btrfs", "-q"), 0o027, []string{"TZ=America/St_Johns"}, false},
	{"overlayfs", mountOverlay, 0o022, nil, true},
	{"one core", mountTmpfs, 0o022, []string{"GOMAXPROCS=1"}, false},
}

func TestTheSameTreeHasTheSameDigestEverywhere(t *testing.T) {
	testutil.RequireRoot(t) // to mount, to give files away, to make devices
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string][]string{}
	for _, p := range places {
		dir := t.TempDir()
		p.mount(t, dir)
		tree := filepath.Join(dir, "tree")
		old := unix.Umask(p.umask)
		makeTree(t, tree, p.reverse)
		for _, flags := range [][]string{{}, {"--repo", filepath.Join(dir, "repo")}} {
			cmd := exec.Command(self, append([]string{"build", tree}, flags...)...)
			cmd.Args[0] = "mkimage"
			cmd.Env = append(os.Environ(), p.env...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v: %s", p.name, err, &stderr)
			}
			d := strings.TrimSpace(string(out))
			digests[d] = append(digests[d], fmt.Sprint(p.name, flags))
		}
		unix.Umask(old)
	}
	if len(digests) != 1 {
		t.Errorf("found %d digests: %v", len(digests), digests)
	}
}

// makeTree makes a small tree with something of everything.
func makeTree(t *testing.T, dir string, reverse bool) {
	t.Helper()
	names := []string{"a", "B", "b", "ä", "I", "i", "ı", "z with space", "-", "long" + strings.Repeat("x", 200)}
	for i := range 300 {
		names = append(names, fmt.Sprintf("file%d", i))
	}
	if reverse {
		slices.Reverse(names)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	for _, n := range names {
		path := filepath.Join(dir, n)
		must(os.WriteFile(path, bytes.Repeat([]byte(n), 50), 0o600))
		must(os.Lchown(path, len(n), 65536+len(n)))
		must(os.Chmod(path, 0o4755))
	}
	must(unix.Mknod(filepath.Join(dir, "device"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 300))))
	must(os.Chmod(filepath.Join(dir, "device"), 0o660))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(os.Chmod(filepath.Join(dir, "fifo"), 0o640))
	must(os.Symlink("nowhere", filepath.Join(dir, "symlink")))
	must(os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "linked")))
	must(unix.Setxattr(filepath.Join(dir, "a"), "trusted.note", []byte("value"), 0))
	must(unix.Setxattr(filepath.Join(dir, "b"), "security.capability",
		[]byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	must(os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(os.Chmod(filepath.Join(dir, "empty"), 0o1777))
	entries, err := os.ReadDir(dir)
	must(err)
	for _, e := range entries {
		setTime(t, filepath.Join(dir, e.Name()))
	}
	must(os.Chmod(dir, 0o755))
	setTime(t, dir)
}

func setTime(t *testing.T, path string) {
	t.Helper()
	stamp := unix.NsecToTimespec(time.Date(2038, 2, 3, 4, 5, 6, 789, time.UTC).UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// mountImage returns a mount of a new file system in a file, made by a program.
func mountImage(fstype string, mkfs ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		testutil.RequireTool(t, mkfs[0])
		image := filepath.Join(t.TempDir(), fstype)
		for _, args := range [][]string{
			{"truncate", "-s", "256M", image},
			append(mkfs, image),
			{"mount", "-t", fstype, "-o", "loop", image, dir},
		} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	}
}

func mountOverlay(t *testing.T, dir string) {
	t.Helper()
	layers := t.TempDir()
	mountTmpfs(t, layers)
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(layers, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", layers)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}
