package disk_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// stored makes a repository at dir with an image that has something of everything in
// /var, and a second one, to which no ref points. large is an object of the first.
func stored(t *testing.T, dir string) (r *repo.Repo, image, large verity.Digest) {
	t.Helper()
	r, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	stage, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	large, err = stage.PutBytes(content(5000))
	if err != nil {
		t.Fatal(err)
	}
	v := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	files := []struct {
		name string
		node *tree.Node
	}{
		{"lib", &tree.Node{Kind: tree.Directory, Perm: 0o2775, GID: 8}},
		{"large", &tree.Node{Kind: tree.Regular, Perm: 0o640, UID: 7, Size: 5000, Object: large, Payload: large.ObjectPath()}},
		{"small", &tree.Node{Kind: tree.Regular, Perm: 0o4755, Size: 5, Inline: []byte("small")}},
		{"run", &tree.Node{Kind: tree.Symlink, Perm: 0o777, Target: "/run"}},
		{"fifo", &tree.Node{Kind: tree.FIFO, Perm: 0o644}},
	}
	for _, f := range files {
		if err := v.Add(f.name, f.node); err != nil {
			t.Fatal(err)
		}
	}
	root, other := &tree.Node{Kind: tree.Directory, Perm: 0o755}, &tree.Node{Kind: tree.Directory, Perm: 0o700}
	if err := root.Add("var", v); err != nil {
		t.Fatal(err)
	}
	var images []verity.Digest
	for _, root := range []*tree.Node{root, other} {
		d, _, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, erofs.V1) })
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, d)
	}
	if err := stage.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, d := range images {
		if err := r.AddImage(d); err != nil {
			t.Fatal(err)
		}
	}
	for name, d := range map[string]verity.Digest{"os/stable": images[0], "other": images[1]} {
		if err := r.SetRef(name, d); err != nil {
			t.Fatal(err)
		}
	}
	return r, images[0], large
}

func TestADiskGetsAnImageWithItsObjectsAndRefsAndNothingOfOthers(t *testing.T) {
	r, image, large := stored(t, filepath.Join(t.TempDir(), "repo"))
	for _, name := range []string{"os/stable", image.Hex()} {
		l, err := disk.Source{Repo: r, Images: []string{name}}.Layout()
		if err != nil {
			t.Fatal(err)
		}
		var objects []verity.Digest
		for _, o := range l.Objects {
			objects = append(objects, o.Digest)
		}
		if want := []verity.Digest{large, image}; !slices.Equal(objects, want) {
			t.Errorf("%s: objects are %v, want %v", name, objects, want)
		}
		if !slices.Equal(l.Images, []verity.Digest{image}) || len(l.Refs) != 1 || l.Refs["os/stable"] != image || len(l.Deploy) != 1 || l.Deploy[0].Var != nil {
			t.Errorf("%s: images %v, refs %v, deployments %v", name, l.Images, l.Refs, l.Deploy)
		}
		if _, err := l.Entries(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVarBeginsAsACopyOfTheImagesWithoutWhatIsNoFile(t *testing.T) {
	r, image, _ := stored(t, filepath.Join(t.TempDir(), "repo"))
	l, err := disk.Source{Repo: r, Images: []string{image.Hex()}, Var: true}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]disk.Entry{}
	for _, e := range l.Deploy[0].Var {
		found[e.Path] = e
	}
	for path, want := range map[string]struct {
		mode    fs.FileMode
		uid     uint32
		gid     uint32
		target  string
		content []byte
	}{
		".":     {mode: fs.ModeDir | 0o755},
		"lib":   {mode: fs.ModeDir | fs.ModeSetgid | 0o775, gid: 8},
		"large": {mode: 0o640, uid: 7, content: content(5000)},
		"small": {mode: fs.ModeSetuid | 0o755, content: []byte("small")},
		"run":   {mode: fs.ModeSymlink | 0o777, target: "/run"},
	} {
		e, ok := found[path]
		delete(found, path)
		if !ok || e.Mode != want.mode || e.UID != want.uid || e.GID != want.gid || e.Target != want.target || e.Size != int64(len(want.content)) {
			t.Errorf("%s: %+v", path, e)
			continue
		}
		if d := verity.Sum(verity.SHA256, want.content); path == "large" && (e.Digest != d || e.Verity) {
			t.Errorf("%s must have the content %s, without fs-verity; found %s, %v", path, d, e.Digest, e.Verity)
		}
		if want.content == nil {
			continue
		}
		f, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || !slices.Equal(b, want.content) || f.Close() != nil {
			t.Errorf("%s has other content, %v", path, err)
		}
	}
	if len(found) > 0 {
		t.Errorf("more is there: %v", found)
	}
}

func TestWhatTheRepositoryLacksIsNoLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	r, image, large := stored(t, dir)
	if _, err := (disk.Source{Repo: r, Images: []string{"absent"}}).Layout(); err == nil {
		t.Error("an image that isn't there")
	}
	at := filepath.Join(dir, "objects", large.ObjectPath())
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if _, err := (disk.Source{Repo: r, Images: []string{image.Hex()}}).Layout(); !errors.Is(err, repo.ErrNoObject) {
		t.Errorf("an object that isn't there: %v", err)
	}
}

// The content is compared while it is copied to the disk.
func TestADamagedObjectDoesNotGetOntoADisk(t *testing.T) {
	requireTools(t)
	dir := filepath.Join(t.TempDir(), "repo")
	r, image, large := stored(t, dir)
	at := filepath.Join(dir, "objects", large.ObjectPath())
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	bad := content(5000)
	bad[4999] ^= 1
	if err := os.WriteFile(at, bad, 0o444); err != nil {
		t.Fatal(err)
	}
	l, err := disk.Source{Repo: r, Images: []string{image.Hex()}}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	root, err := l.Entries()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "d")
	err = disk.Write(t.Context(), name, disk.Image{Arch: "amd64", Root: root, ESPSize: 34 << 20}, nil)
	if _, there := os.Stat(name); !errors.Is(err, verity.ErrMismatch) || there == nil {
		t.Errorf("%v", err)
	}
}
