package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// fill puts a small and a large object into the store at dir.
func fill(t *testing.T, dir string) (small, large verity.Digest) {
	t.Helper()
	s, err := repo.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stage, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Abort()
	if small, err = stage.PutBytes(bytes.Repeat([]byte("s"), 100)); err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(filepath.Dir(dir), "source")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Write(bytes.Repeat([]byte("l"), 300<<10))
	if large, err = stage.PutFile(f, 300<<10, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if err := stage.Commit(); err != nil {
		t.Fatal(err)
	}
	return small, large
}

func TestAStoreHasObjectsAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	small, large := fill(t, dir)
	want := []string{small.ObjectPath()[:2], small.ObjectPath(), large.ObjectPath()[:2], large.ObjectPath()}
	slices.Sort(want)
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for _, d := range []verity.Digest{small, large} {
		path := filepath.Join(dir, d.ObjectPath())
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o644 {
			t.Errorf("%v, %v", st, err)
		}
		content, _ := os.ReadFile(path)
		if verity.Sum(verity.SHA256, content) != d {
			t.Errorf("%s has other content", path)
		}
	}
	before, _ := os.Stat(filepath.Join(dir, large.ObjectPath()))
	fill(t, dir)
	if after, _ := os.Stat(filepath.Join(dir, large.ObjectPath())); !os.SameFile(before, after) {
		t.Error("the object was written again")
	}
}

func TestAStoreLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"tmp", "notes", ".tmp-build-killed"} {
		os.Mkdir(filepath.Join(dir, name), 0o755)
	}
	fill(t, dir)
	got := files(t, dir)
	if !slices.Contains(got, "notes") || slices.Contains(got, ".tmp-build-killed") {
		t.Errorf("found %q", got)
	}
}

func TestAStoreSharesBlocksWhereItCan(t *testing.T) {
	testutil.RequireRoot(t) // to mount
	mkfs := testutil.RequireTool(t, "mkfs.btrfs")
	image, mount := filepath.Join(t.TempDir(), "btrfs"), t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "128M", image}, {mkfs, "-q", image}, {"mount", "-o", "loop", image, mount}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	dir := filepath.Join(mount, "store")
	_, large := fill(t, dir)
	content, err := os.ReadFile(filepath.Join(dir, large.ObjectPath()))
	if err != nil || verity.Sum(verity.SHA256, content) != large {
		t.Errorf("the object has other content: %v", err)
	}
	unix.Sync()
	out, err := exec.Command("filefrag", "-v", filepath.Join(dir, large.ObjectPath())).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("shared")) {
		t.Errorf("%v: %s", err, out)
	}
}

// Whoever has opened the objects of a repository keeps them, whatever takes their place,
// and no link is taken for them, as at boot.
func TestTheOpenObjectsOfARepositoryStay(t *testing.T) {
	r, dir := open(t)
	d := put(t, r, []byte("content"))
	objects, err := r.OpenObjects()
	if err != nil {
		t.Fatal(err)
	}
	defer objects.Close()
	for _, step := range []error{
		os.Rename(filepath.Join(dir, "objects"), filepath.Join(dir, "moved")),
		os.Mkdir(filepath.Join(dir, "objects"), 0o755),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d/%s", objects.Fd(), d.ObjectPath()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := errors.Join(os.Remove(filepath.Join(dir, "objects")), os.Symlink("moved", filepath.Join(dir, "objects"))); err != nil {
		t.Fatal(err)
	}
	if again, err := r.OpenObjects(); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "objects")) {
		t.Errorf("a link in their place: %v, %v", again, err)
	}
}
