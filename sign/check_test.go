package sign_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// store is a directory of seals. What is no []byte is an error to read.
type store map[string]any

func (s store) read(f sign.File) ([]byte, error) {
	name, limit := f.Name(), f.Limit()
	switch content := s[name].(type) {
	case []byte:
		if int64(len(content)) > limit {
			return nil, fmt.Errorf("%d bytes, at most %d expected", len(content), limit)
		}
		return content, nil
	case error:
		return nil, content
	}
	return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
}

func TestCheck(t *testing.T) {
	var (
		image        = mustDigest(t, digest256)
		ours, second = newKey(t), newKey(t)
		seal, sig    = makeSeal(t, image, 42, ours)
		_, sig2      = makeSeal(t, image, 42, second)
		_, stranger  = makeSeal(t, image, 42, newKey(t))
		name         = sign.TextFile(image).Name()
		first        = sign.SignatureFile(image).Name()
		byKey        = sign.KeySignatureFile(image, ours.ID()).Name()
		keys         = sign.Keyring{ours.Public("ours"), second.Public("second")}
		require      = sign.Policy{Keys: keys}
		broken       = errors.New("input/output error")
	)
	for _, test := range []struct {
		name    string
		policy  sign.Policy
		files   store
		cause   error
		message string // of the error; without one, the name of the key
	}{
		{"sealed", require, store{name: seal, first: sig}, nil, "ours"},
		{"sealed by a later signer", require, store{name: seal, first: stranger, byKey: sig}, nil, "ours"},
		{"by the second of two keys", require, store{name: seal, first: stranger, sign.KeySignatureFile(image, second.ID()).Name(): sig2}, nil, "second"},
		{"a good one beside one that can't be read", require, store{name: seal, first: broken, byKey: sig}, nil, "ours"},
		{"a good one beside one of 1 MiB", require, store{name: seal, first: make([]byte, 1<<20), byKey: sig}, nil, "ours"},
		{"a good one beside one that isn't", require, store{name: seal, first: []byte("junk"), byKey: sig}, nil, "ours"},
		{"one under the name of a stranger", require, store{name: seal, sign.KeySignatureFile(image, 1).Name(): sig}, sign.ErrUnsigned, first},
		{"no policy written", sign.Policy{}, store{name: seal, first: sig}, sign.ErrNoKeys, "no key is trusted"},
		{"a word that is no need", sign.Policy{Need: "never"}, store{}, sign.ErrNoSeal, "no seal"},
		{"no seal", require, store{first: sig}, sign.ErrNoSeal, name},
		{"no signature", require, store{name: seal}, sign.ErrUnsigned, first},
		{"seal that can't be read", require, store{name: broken}, broken, "read the seal: input/output error"},
		{"seal of 1 MiB", require, store{name: make([]byte, 1<<20), first: sig}, nil, "read the seal: 1048576 bytes, at most 4096"},
		{"signature that can't be read", require, store{name: seal, first: broken}, broken, "read a signature of the seal: input/output error"},
		{"one that can't be read and one by a stranger", require, store{name: seal, first: broken, byKey: stranger}, broken, "read a signature"},
		{"one that can't be read and a bad one", require, store{name: append(seal, "x-a b\n"...), first: broken, byKey: sig}, sign.ErrBadSignature, "for this text"},
		{"two of which the second can't be read either", require, store{name: seal, first: broken, byKey: fs.ErrPermission}, broken, "input/output"},
		{"optional and sealed", sign.Policy{Keys: keys, Need: sign.Optional}, store{name: seal, first: sig}, nil, "ours"},
		{"optional and not sealed", sign.Policy{Keys: keys, Need: sign.Optional}, store{}, nil, ""},
		{"optional and empty", sign.Policy{Keys: keys, Need: sign.Optional}, store{name: []byte{}}, sign.ErrNoSeal, "no seal"},
		{"optional and badly sealed", sign.Policy{Keys: keys, Need: sign.Optional}, store{name: seal, first: stranger}, sign.ErrUnknownKey, "no trusted key"},
		{"optional and unreadable", sign.Policy{Keys: keys, Need: sign.Optional}, store{name: broken}, broken, "read the seal"},
		{"optional and revoked", sign.Policy{Need: sign.Optional, Revoked: []verity.Digest{image}}, store{}, sign.ErrRevoked, "revoked"},
		{"off", sign.Policy{Keys: keys, Need: sign.Off}, store{name: broken}, nil, ""},
		{"off and revoked", sign.Policy{Need: sign.Off, Revoked: []verity.Digest{image}}, store{}, sign.ErrRevoked, "revoked"},
		{"require, spelled out", sign.Policy{Keys: keys, Need: sign.Require}, store{}, sign.ErrNoSeal, "no seal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := test.policy.Check(image, test.files.read)
			if err == nil && (test.cause != nil || v.Key.Name != test.message) {
				t.Fatalf("found the key %q, want %q and %v", v.Key.Name, test.message, test.cause)
			}
			if err == nil {
				want := sign.Unsealed
				switch {
				case test.message != "":
					want = sign.Sealed
				case test.policy.Need == sign.Off:
					want = sign.NotRequired
				}
				if v.Status != want {
					t.Errorf("status %s, want %s", v.Status, want)
				}
				return
			}
			var refused *sign.RefusedError
			if !errors.As(err, &refused) || refused.Image != image {
				t.Errorf("found %#v, want a RefusedError about the image", err)
			}
			if !errors.Is(err, sign.ErrRefused) || test.cause != nil && !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %v, want ErrRefused, %v, one line that says %q", err, test.cause, test.message)
			}
			if v.Status != sign.Refused || v.Key.Name != "" || !v.Statement.Digest.IsZero() {
				t.Errorf("a verdict beside the error: %+v", v)
			}
		})
	}
}

// As many files are read as there are keys that could have made them, whatever lies
// in the directory.
func TestCheckReadsNoMoreThanTheKeysNeed(t *testing.T) {
	image := mustDigest(t, digest256)
	files := store{}
	var p sign.Policy
	for i := range 100 {
		key := newKey(t)
		p.Keys = append(p.Keys, key.Public(fmt.Sprint(i)))
		text, sig := makeSeal(t, image, 1, key)
		files[sign.TextFile(image).Name()], files[sign.KeySignatureFile(image, key.ID()).Name()] = text, sig
	}
	reads := 0
	count := func(f sign.File) ([]byte, error) { reads++; return files.read(f) }
	if v, err := p.Check(image, count); err != nil || v.Key.Name != "0" || reads != 102 {
		t.Errorf("found key %v, %v after %d reads; want 102", v.Key, err, reads)
	}
	// The last of a hundred is as good as the first.
	for i, k := range p.Keys[:99] {
		if i%2 == 0 {
			delete(files, sign.KeySignatureFile(image, k.ID).Name())
		} else {
			files[sign.KeySignatureFile(image, k.ID).Name()] = []byte("junk")
		}
	}
	if v, err := p.Check(image, count); err != nil || v.Key.Name != "99" {
		t.Errorf("found key %v, %v; want the last", v.Key, err)
	}
}

func TestCheckDigest(t *testing.T) {
	want, other := mustDigest(t, digest256), verity.Sum(verity.SHA256, nil)
	if err := sign.CheckDigest(want, want); err != nil {
		t.Error(err)
	}
	err := sign.CheckDigest(want, other)
	if !errors.Is(err, verity.ErrMismatch) || !strings.Contains(err.Error(), "want "+want.String()+", found "+other.Hex()) {
		t.Errorf("found %v", err)
	}
	var digests *sign.DigestError
	if !errors.As(err, &digests) || digests.Want != want || digests.Found != other {
		t.Errorf("found %#v", err)
	}
	if err := sign.CheckDigest(want, verity.Digest{}); err == nil {
		t.Error("no digest is as good as the right one")
	}
}

// A verdict that nobody gave is a refusal.
func TestTheZeroVerdictRefuses(t *testing.T) {
	for s := sign.Refused; s <= sign.Sealed; s++ {
		text, _ := s.MarshalText()
		var again sign.Status
		if err := again.UnmarshalText(text); err != nil || again != s {
			t.Errorf("%s: read as %s, %v", text, again, err)
		}
	}
	if err := new(sign.Status).UnmarshalText([]byte("ok")); !errors.Is(err, sign.ErrMalformed) {
		t.Errorf("an unknown status: %v", err)
	}
	var v sign.Verdict
	if v.Status != sign.Refused || v.Status.String() != "refused" {
		t.Errorf("found %s", v.Status)
	}
}

func TestCheckMeasuredTellsWhyThereIsNoDigest(t *testing.T) {
	image := mustDigest(t, digest256)
	for cause, says := range map[error]string{
		verity.ErrUnsupported: "the file system of image " + image.Hex() + " has no fs-verity",
		verity.ErrNotEnabled:  "image " + image.Hex() + " has no fs-verity digest",
		verity.ErrMismatch:    "the image isn't the one that was asked for",
	} {
		err := sign.CheckMeasured(image, verity.Digest{}, cause)
		var measured *sign.MeasureError
		if !errors.As(err, &measured) || measured.Image != image || !errors.Is(err, cause) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: found %v, want %q", cause, err, says)
		}
	}
	if err := sign.CheckMeasured(image, image, nil); err != nil {
		t.Error(err)
	}
}
