package repo_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// Only a file system with fs-verity can show this; test/boot runs it on one.
func TestOnFSVerityEveryObjectHasItAndCannotBeWrittenTo(t *testing.T) {
	r, dir := open(t)
	meta, err := os.Open(filepath.Join(dir, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer meta.Close()
	if _, err := verity.Measure(meta, verity.SHA256); errors.Is(err, verity.ErrUnsupported) || errors.Is(err, verity.ErrNotEnabled) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 300_000)
	d := put(t, r, content)
	path := filepath.Join(dir, "objects", d.ObjectPath())
	if _, err := os.OpenFile(path, os.O_WRONLY, 0); !errors.Is(err, os.ErrPermission) {
		t.Errorf("open the object for writing: found %v", err)
	}
	// Verity off, content right: in this repository that is no object.
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o444); err != nil {
		t.Fatal(err)
	}
	put(t, r, content)
	f, err := r.OpenObject(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := verity.Check(f, d); err != nil {
		t.Errorf("after it was put again: %v", err)
	}
}

// A repository that insists on fs-verity does so after its meta.json was lost.
func TestOnFSVerityARestoredMetaHasIt(t *testing.T) {
	r, dir := open(t)
	put(t, r, []byte("content"))
	name := filepath.Join(dir, "meta.json")
	hasVerity := func() error {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = verity.Measure(f, verity.SHA256)
		return err
	}
	if err := hasVerity(); errors.Is(err, verity.ErrUnsupported) || errors.Is(err, verity.ErrNotEnabled) {
		t.Skip(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := repo.Restore(dir, repo.Wanted{}); err != nil {
		t.Fatal(err)
	}
	if err := hasVerity(); err != nil {
		t.Errorf("the restored meta.json: %v", err)
	}
}

// A copied repository gets fs-verity back, unless something in it is damaged.
func TestOnFSVerityACopyGetsItBack(t *testing.T) {
	r, dir := open(t)
	d := put(t, r, bytes.Repeat([]byte("x"), 300_000))
	if _, err := r.Measure(d); errors.Is(err, verity.ErrUnsupported) || errors.Is(err, verity.ErrNotEnabled) {
		if _, err := r.EnableVerity(t.Context()); !errors.Is(err, verity.ErrUnsupported) {
			t.Errorf("want %v, found %v", verity.ErrUnsupported, err)
		}
		t.Skip(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c, err := repo.Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Secure() {
		t.Error("the copy has fs-verity")
	}
	if n, err := c.EnableVerity(t.Context()); err != nil || n != 1 {
		t.Errorf("enabled %d, %v", n, err)
	}
	if found, err := c.Measure(d); err != nil || found != d {
		t.Errorf("found %v, %v", found, err)
	}
	again, err := repo.Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n, err := again.EnableVerity(t.Context()); err != nil || n != 0 || !again.Secure() {
		t.Errorf("again: enabled %d, %v", n, err)
	}
	path := filepath.Join(copied, "objects", d.ObjectPath())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := again.EnableVerity(t.Context()); !errors.Is(err, verity.ErrMismatch) {
		t.Errorf("a damaged object: %v", err)
	}
}

func put(t *testing.T, r *repo.Repo, content []byte) verity.Digest {
	t.Helper()
	s := begin(t, r)
	d, err := s.PutBytes(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	return d
}
