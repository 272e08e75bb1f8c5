package repo_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/verity"
)

// As many may sign as a keyring has keys, and none of them gets lost.
func TestAHundredSigners(t *testing.T) {
	r, _ := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	var signatures []repo.Signature
	for i := range 100 {
		signatures = append(signatures, repo.Signature{KeyID: uint64(i), Text: fmt.Append(nil, i)})
	}
	if err := r.WriteSeal(d, []byte("text"), signatures, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := r.ReadSeal(d); err != nil || len(got.Signatures) != 100 {
		t.Errorf("found %d signatures, %v", len(got.Signatures), err)
	}
}

// ReadSealFile reads plain files of the directory of seals and nothing else.
func TestReadSealFile(t *testing.T) {
	r, dir := open(t)
	if _, err := r.ReadSealFile("x.seal", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: found %v", err)
	}
	seals := filepath.Join(dir, "seals")
	if err := errors.Join(os.MkdirAll(seals, 0o755), os.WriteFile(filepath.Join(seals, "x.seal"), []byte("0123456789"), 0o644),
		os.Symlink("x.seal", filepath.Join(seals, "link")), os.Mkdir(filepath.Join(seals, "dir"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if text, err := r.ReadSealFile("x.seal", 10); err != nil || string(text) != "0123456789" {
		t.Errorf("found %q, %v", text, err)
	}
	for _, name := range []string{"link", "dir"} {
		if text, err := r.ReadSealFile(name, 1<<20); err == nil {
			t.Errorf("%s: found %q", name, text)
		}
	}
	if text, err := r.ReadSealFile("x.seal", 9); err == nil {
		t.Errorf("of 10 bytes: found %q", text)
	}
}
