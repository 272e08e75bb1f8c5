package repo_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// storeImage stores a content as an image, and seals it.
func storeImage(t *testing.T, r *repo.Repo, content string) (verity.Digest, sign.Keyring) {
	t.Helper()
	d := put(t, r, []byte(content))
	if err := r.AddImage(d); err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	seal, err := sign.NewSeal(sign.Statement{Digest: d, Sequence: 7})
	if err != nil {
		t.Fatal(err)
	}
	signature, err := sign.Sign(seal, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddSignatures(seal, []sign.Signature{signature}, nil); err != nil {
		t.Fatal(err)
	}
	return d, sign.Keyring{key.Public("ours")}
}

func TestWhatWasVerifiedIsTheOpenFile(t *testing.T) {
	r, dir := open(t)
	d, keys := storeImage(t, r, "the image")
	v, err := r.Verify(d, sign.Policy{Keys: keys}, repo.AskKernel)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Image != d || v.Size != 9 || v.Verdict.Status != sign.Sealed || v.Verdict.Key.Name != "ours" || v.Verdict.Statement.Sequence != 7 {
		t.Errorf("found %+v", v)
	}
	// Another file of that name changes nothing about the one that was verified.
	object := filepath.Join(dir, "objects", d.ObjectPath())
	if err := errors.Join(os.Remove(object), os.WriteFile(object, []byte("another"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(v); err != nil || string(content) != "the image" {
		t.Errorf("found %q, %v", content, err)
	}
}

func TestVerifyRefusesWhatTheBootWould(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(dir string, d verity.Digest, p *sign.Policy) error
		refuse func(error) bool
	}{
		"another content": {func(dir string, d verity.Digest, _ *sign.Policy) error {
			object := filepath.Join(dir, "objects", d.ObjectPath())
			return errors.Join(os.Remove(object), os.WriteFile(object, []byte("another"), 0o644))
		}, isA[*sign.DigestError]},
		"no seal": {func(dir string, d verity.Digest, _ *sign.Policy) error {
			return os.RemoveAll(filepath.Join(dir, "seals"))
		}, isA[*sign.RefusedError]},
		"a seal that is too old": {func(_ string, _ verity.Digest, p *sign.Policy) error {
			p.MinimumSequence = 8
			return nil
		}, isA[*sign.RefusedError]},
		"no image": {func(dir string, d verity.Digest, _ *sign.Policy) error {
			return os.Remove(filepath.Join(dir, "images", d.Hex()))
		}, func(err error) bool { return errors.Is(err, repo.ErrNoImage) }},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := open(t)
			d, keys := storeImage(t, r, "the image")
			policy := sign.Policy{Keys: keys}
			if err := c.spoil(dir, d, &policy); err != nil {
				t.Fatal(err)
			}
			if v, err := r.Verify(d, policy, repo.AnyContent); v != nil || !c.refuse(err) {
				t.Errorf("found %v, %v", v, err)
			}
		})
	}
}

// A file system without fs-verity is let pass only if the image needn't boot from it.
func TestVerifyDemandsFSVerity(t *testing.T) {
	r, _ := open(t)
	d, _ := storeImage(t, r, "the image")
	off := sign.Policy{Need: sign.Off}
	v, err := r.Verify(d, off, repo.RequireVerity)
	if err == nil {
		defer v.Close()
		if !v.Measured {
			t.Error("accepted without having been measured")
		}
		return // the file system has it
	}
	if !isA[*sign.MeasureError](err) {
		t.Fatalf("found %v", err)
	}
	if v, err = r.Verify(d, off, repo.AskKernel); err != nil || v.Measured || v.Verdict.Status != sign.NotRequired {
		t.Fatalf("found %+v, %v", v, err)
	}
	v.Close()
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
