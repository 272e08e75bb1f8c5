package repo_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealOf returns a seal of the image, and signatures of it by new keys.
func sealOf(t *testing.T, d verity.Digest, sequence uint64, signers int) (sign.Seal, []sign.Signature) {
	t.Helper()
	seal, err := sign.NewSeal(sign.Statement{Digest: d, Sequence: sequence})
	if err != nil {
		t.Fatal(err)
	}
	var signatures []sign.Signature
	for range signers {
		key, err := sign.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := sign.Sign(seal, key)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, signature)
	}
	return seal, signatures
}

// As many may sign as a keyring has keys, and none of them gets lost.
func TestAHundredSigners(t *testing.T) {
	r, _ := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	seal, signatures := sealOf(t, d, 1, 100)
	if err := r.AddSignatures(seal, signatures, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := r.ReadSeal(d); err != nil || len(got.Signatures) != 100 {
		t.Errorf("found %d signatures, %v", len(got.Signatures), err)
	}
}

// A pipe has no writer to wait for, and a link is nothing that the boot would read.
func TestASealIsReadFromRegularFilesOnly(t *testing.T) {
	d := verity.Sum(verity.SHA256, []byte("image"))
	pipe := func(name string) error { return unix.Mkfifo(name, 0o644) }
	link := func(name string) error {
		return errors.Join(os.WriteFile(name+".target", []byte("text"), 0o644), os.Symlink(filepath.Base(name)+".target", name))
	}
	first, _ := sealOf(t, d, 1, 0)
	other, _ := sealOf(t, d, 2, 0)
	for what, make := range map[string]func(string) error{"a pipe": pipe, "a link": link} {
		for _, suffix := range []string{"", ".0123456789ABCDEF.minisig"} {
			r, dir := open(t)
			seal := filepath.Join(dir, "seals", d.Hex()+".seal")
			if err := r.AddSignatures(first, nil, nil); err != nil {
				t.Fatal(err)
			}
			os.Remove(seal + suffix)
			if err := make(seal + suffix); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{second(r.ReadSeal(d)), r.AddSignatures(other, nil, nil)} {
				if err == nil || !strings.Contains(err.Error(), "want a regular file") {
					t.Errorf("%s as .seal%s: found %v", what, suffix, err)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A pipe may be in the place of any file of a repository.
func TestAPipeIsNoObjectNorADirectoryOfThem(t *testing.T) {
	r, dir := open(t)
	d := verity.Sum(verity.SHA256, []byte("object"))
	shard := filepath.Dir(filepath.Join(dir, "objects", d.ObjectPath()))
	if err := errors.Join(os.MkdirAll(shard, 0o755), unix.Mkfifo(filepath.Join(dir, "objects", d.ObjectPath()), 0o644)); err != nil {
		t.Fatal(err)
	}
	if f, err := r.OpenObject(d); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("an object: found %v, %v", f, err)
	}
	if err := errors.Join(os.RemoveAll(shard), unix.Mkfifo(shard, 0o644)); err != nil {
		t.Fatal(err)
	}
	s := begin(t, r)
	if _, _, err := s.Put(func(w io.Writer) error { _, err := w.Write([]byte("object")); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err == nil {
		t.Error("a directory of objects: the build went on")
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "meta.json")), unix.Mkfifo(filepath.Join(dir, "meta.json"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Open(dir); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("meta.json: found %v", err)
	}
}

// ReadSealFile reads plain files of the directory of seals and nothing else.
func TestReadSealFile(t *testing.T) {
	r, dir := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	text, link, folder := sign.TextFile(d), sign.SignatureFile(d), sign.KeySignatureFile(d, 1)
	if _, err := r.ReadSealFile(text); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: found %v", err)
	}
	seals := filepath.Join(dir, "seals")
	file := filepath.Join(seals, text.Name())
	if err := errors.Join(os.MkdirAll(seals, 0o755), os.WriteFile(file, []byte("0123456789"), 0o644),
		os.Symlink(text.Name(), filepath.Join(seals, link.Name())), os.Mkdir(filepath.Join(seals, folder.Name()), 0o755)); err != nil {
		t.Fatal(err)
	}
	if content, err := r.ReadSealFile(text); err != nil || string(content) != "0123456789" {
		t.Errorf("found %q, %v", content, err)
	}
	for _, f := range []sign.File{link, folder} {
		if content, err := r.ReadSealFile(f); err == nil {
			t.Errorf("%s: found %q", f.Name(), content)
		}
	}
	if err := os.Truncate(file, text.Limit()+1); err != nil {
		t.Fatal(err)
	}
	if content, err := r.ReadSealFile(text); err == nil {
		t.Errorf("of more bytes than a seal has: found %d", len(content))
	}
}
