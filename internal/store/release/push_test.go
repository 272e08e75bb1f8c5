package release_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// layouts are container images.
const layouts = "../../../cmd/mkimage/testdata/oci/layouts/"

var sha256V1 = repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}

func newRepo(t testing.TB, meta repo.Meta) (*repo.Repo, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func open(t testing.TB, reference string) *oci.Image {
	t.Helper()
	i, err := openAny(reference)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

func pull(t testing.TB, r *repo.Repo, image *oci.Image) (ocistore.Pulled, error) {
	t.Helper()
	return ocistore.Pull(t.Context(), r, image, ocistore.Options{Tag: "tag"})
}

// push pushes the image that pull has stored.
func push(t testing.TB, r *repo.Repo, ref string) (release.Pushed, error) {
	t.Helper()
	stored, err := ocistore.Find(r, "tag")
	if err != nil {
		return release.Pushed{}, err
	}
	i, err := release.FromContainer(stored)
	if err != nil {
		t.Fatal(err)
	}
	return release.Push(t.Context(), i, destination(t, ref), release.PushOptions{})
}

func destination(t testing.TB, ref string) oci.Destination {
	t.Helper()
	r, err := oci.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := oci.Create(t.Context(), r, oci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// An image that was pulled, pushed and pulled again is the same one, in all layouts that can be
// pulled, and by both hashes.
func TestAPushedImageIsTheSameOne(t *testing.T) {
	all, err := filepath.Glob(layouts + "*")
	if err != nil {
		t.Fatal(err)
	}
	pushed := 0
	for _, meta := range []repo.Meta{sha256V1, {Algorithm: verity.SHA512, Format: erofs.V2}} {
		for _, dir := range all {
			name := filepath.Base(dir)
			i, err := openAny("oci:" + dir)
			if err != nil {
				continue // what can't be pulled is tested elsewhere
			}
			r, _ := newRepo(t, meta)
			first, err := pull(t, r, i)
			i.Close()
			if err != nil {
				continue
			}
			pushed++
			ref := "oci:" + t.TempDir() + "/layout:tag"
			done, err := push(t, r, ref)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			other, _ := newRepo(t, meta)
			second, err := pull(t, other, open(t, ref))
			if err != nil || second.Config != first.Config || !slices.Equal(second.Images, first.Images) || second.Manifest != done.Manifest.Digest() || done.Layers != first.Layers {
				t.Errorf("%s: %v\npulled %+v\npushed %+v\nagain %+v", name, err, first, done, second)
			}
			again, err := push(t, other, ref)
			if err != nil || again.Sent != 0 || again.Manifest.Digest() != done.Manifest.Digest() {
				t.Errorf("%s: pushed again: %+v: %v", name, again, err)
			}
		}
	}
	if pushed < 40 {
		t.Errorf("only %d images", pushed)
	}
}

// openAny is open for images that may be unusable.
func openAny(reference string) (*oci.Image, error) {
	r, err := oci.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	return oci.Open(context.Background(), r, oci.Options{Platform: "linux/amd64"})
}

func TestNothingDamagedIsPushed(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	if _, err := pull(t, r, open(t, "oci:"+layouts+"basic-gzip")); err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(dir, "objects/*/*"))
	if err != nil || len(objects) < 5 {
		t.Fatal(objects, err)
	}
	unneeded := 0
	for _, object := range objects {
		good, err := os.ReadFile(object)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 1
		if err := errors.Join(os.Remove(object), os.WriteFile(object, bad, 0o444)); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir() + "/layout"
		_, err = push(t, r, "oci:"+to+":tag")
		switch _, there := os.Lstat(to + "/index.json"); {
		case err == nil:
			unneeded++
		case !errors.Is(err, ocistore.ErrBroken):
			t.Error(err)
		case !errors.Is(there, os.ErrNotExist):
			t.Errorf("after damage to %s there is a manifest", object)
		}
		if err := errors.Join(os.Remove(object), os.WriteFile(object, good, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	if unneeded != 1 { // the EROFS image
		t.Errorf("damage to %d objects of %d changes nothing", unneeded, len(objects))
	}
}

// A tree that was built, pushed as a container image and pulled has the same files.
func TestAnImageBecomesALayer(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	pulled, err := pull(t, r, open(t, "oci:"+layouts+"basic-gzip"))
	if err != nil {
		t.Fatal(err)
	}
	image := pulled.Images[0].Digest
	i, _, err := release.FromImage(r, image, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	ref := "oci:" + t.TempDir() + "/layout:tag"
	first, err := release.Push(t.Context(), i, destination(t, ref), release.PushOptions{})
	if err != nil || first.Layers != 1 || first.Sent != 1 || first.Plain != 0 {
		t.Fatal(first, err)
	}
	again, err := release.Push(t.Context(), i, destination(t, ref), release.PushOptions{})
	if err != nil || again.Sent != 0 || again.Manifest.Digest() != first.Manifest.Digest() {
		t.Error(again, err)
	}
	other, _ := newRepo(t, sha256V1)
	back, err := pull(t, other, open(t, ref))
	if err != nil || back.Images[0].Digest != image {
		t.Errorf("want %s, found %+v: %v", image.Hex(), back.Images, err)
	}
	// An object that is damaged isn't pushed.
	tree, err := filepath.Glob(dir + "/objects/*/*")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, object := range tree {
		good, err := os.ReadFile(object)
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 1
		if err := errors.Join(err, os.Remove(object), os.WriteFile(object, bad, 0o444)); err != nil {
			t.Fatal(err)
		}
		i, _, err := release.FromImage(r, image, "linux/amd64")
		if err == nil {
			_, err = release.Push(t.Context(), i, destination(t, "oci:"+t.TempDir()+"/layout"), release.PushOptions{})
		}
		if errors.Is(err, verity.ErrMismatch) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
		if err := errors.Join(os.Remove(object), os.WriteFile(object, good, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 3 {
		t.Errorf("damage to %d objects is found", failed)
	}
}

// snapshot lists what is in a directory.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		all = append(all, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
