package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// behindLink moves what is at path to another name, and puts a link to that in its place.
func behindLink(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Rename(path, path+"-moved"), os.Symlink(filepath.Base(path)+"-moved", path)); err != nil {
		t.Fatal(err)
	}
}

// overlayfs looks an object up without following links, and so does everything here that
// says whether it is there.
func TestAnObjectBehindALinkIsNotThere(t *testing.T) {
	content := []byte(strings.Repeat("object", 1000))
	d := verity.Sum(verity.SHA256, content)
	shard, _, _ := strings.Cut(d.ObjectPath(), "/")
	for name, c := range map[string]struct {
		link    string // below the repository
		mended  bool   // by a build
		message string
	}{
		"the object":       {filepath.Join("objects", d.ObjectPath()), true, "want a regular file, found a symbolic link"},
		"its directory":    {filepath.Join("objects", shard), false, "want a directory, found a symbolic link"},
		"all of the store": {"objects", false, "want a directory, found a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := open(t)
			put := func(r *repo.Repo) error {
				s := begin(t, r)
				if _, err := s.PutBytes(content); err != nil {
					return err
				}
				return s.Commit()
			}
			if err := put(r); err != nil {
				t.Fatal(err)
			}
			r.Close()
			behindLink(t, filepath.Join(dir, c.link))
			r, err := repo.Open(dir) // a build that begins now
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			var kind *osfile.KindError
			if f, err := r.OpenObject(d); !errors.As(err, &kind) || kind.Path != filepath.Join(dir, c.link) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("opened: found %v, %v", f, err)
			}
			err = put(r)
			if (err == nil) != c.mended || err != nil && (!errors.As(err, &kind) || !strings.Contains(err.Error(), c.message)) {
				t.Fatalf("a build: found %v", err)
			}
			if f, err := r.OpenObject(d); (err == nil) != c.mended {
				t.Errorf("opened after a build: found %v, %v", f, err)
			}
		})
	}
}

// The boot follows no link on the way to a ref or a seal.
func TestARefOrASealIsNotWrittenBehindALink(t *testing.T) {
	r, dir := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	first, _ := sealOf(t, d, 1, 0)
	other, _ := sealOf(t, d, 2, 0)
	if err := errors.Join(r.SetRef("debian/13", d), r.AddSignatures(first, nil, nil)); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"images/refs/debian", "images/refs", "seals"} {
		behindLink(t, filepath.Join(dir, link))
		err := r.SetRef("debian/14", d)
		if link == "seals" {
			err = r.AddSignatures(other, nil, nil)
		}
		if err == nil {
			t.Errorf("%s: written", link)
		}
	}
}
