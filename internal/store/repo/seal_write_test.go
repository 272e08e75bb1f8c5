package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// always is more steps than there are.
const always = 1000

var errStopped = errors.New("stopped")

// stopping is a store that does so many steps and then nothing more, as if the power
// had gone.
type stopping struct {
	sealStore
	steps int
}

func (s *stopping) step(do func() error) error {
	if s.steps == 0 {
		return errStopped
	}
	s.steps--
	return do()
}

func (s *stopping) put(f sign.File, content []byte) error {
	return s.step(func() error { return s.sealStore.put(f, content) })
}

func (s *stopping) remove(f sign.File) error {
	return s.step(func() error { return s.sealStore.remove(f) })
}

// memory is a store without a disk, which would be waited for at each of thousands of
// steps.
type memory map[sign.File][]byte

func (m memory) put(f sign.File, content []byte) error { m[f] = content; return nil }
func (m memory) remove(f sign.File) error              { delete(m, f); return nil }

// seal is what AddSignatures finds there.
func (m memory) seal() SealFiles {
	s := SealFiles{Signatures: maps.Clone(m)}
	for f, content := range m {
		if !f.IsSignature() {
			s.Text = content
			delete(s.Signatures, f)
		}
	}
	return s
}

type sealTest struct {
	*testing.T
	files memory
	image verity.Digest
	keys  map[rune]sign.PrivateKey
}

func newSealTest(t *testing.T) *sealTest {
	t.Helper()
	s := &sealTest{t, memory{}, verity.Sum(verity.SHA256, nil), map[rune]sign.PrivateKey{}}
	for _, name := range "abc" {
		key, err := sign.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		s.keys[name] = key
	}
	return s
}

// signed is a statement with the signatures by some keys.
func (s *sealTest) signed(sequence uint64, signers string) ([]byte, []sign.Signature, sign.Keyring) {
	seal, err := sign.NewSeal(sign.Statement{Digest: s.image, Sequence: sequence})
	if err != nil {
		s.Fatal(err)
	}
	var signatures []sign.Signature
	var known sign.Keyring
	for _, name := range signers {
		sig, err := sign.Sign(seal, s.keys[name])
		if err != nil {
			s.Fatal(err)
		}
		signatures = append(signatures, sig)
		known = append(known, s.keys[name].Public(string(name)))
	}
	return seal.Text(), signatures, known
}

// seal seals, and stops after so many steps.
func (s *sealTest) seal(sequence uint64, signers string, steps int) error {
	text, signatures, known := s.signed(sequence, signers)
	return s.sealing(&stopping{s.files, steps}, known).write(text, signatures)
}

func (s *sealTest) sealing(store sealStore, known sign.Keyring) *sealing {
	return &sealing{store, s.image, s.files.seal(), known}
}

// boots gives the verdict of a boot that trusts just this key.
func (s *sealTest) boots(key rune) (uint64, error) {
	read := func(f sign.File) ([]byte, error) {
		content, ok := s.files[f]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return content, nil
	}
	v, err := sign.Policy{Keys: sign.Keyring{s.keys[key].Public("")}}.Check(s.image, read)
	return v.Statement.Sequence, err
}

func (s *sealTest) wantBoots(keys, when string, sequences ...uint64) {
	s.Helper()
	for _, key := range keys {
		if n, err := s.boots(key); err != nil || !slices.Contains(sequences, n) {
			s.Errorf("%s, key %c: sequence %d, %v; want one of %d", when, key, n, err, sequences)
		}
	}
}

// Whoever is stopped while he seals an image again leaves one that boots, by the old
// seal or by the new one; who is stopped twice too, and sealing once more makes all
// good and leaves nothing over.
func TestSealingAgainMayBeStoppedAnywhere(t *testing.T) {
	for _, c := range []struct{ old, signers, again string }{
		{"a", "a", "a"}, {"ab", "ab", "ab"}, {"ab", "ba", "ab"}, {"abc", "abc", "cba"},
		{"a", "ab", "b"}, {"ab", "b", "b"}, {"ab", "bc", "cb"}, {"abc", "ca", "a"},
	} {
		for first := range 12 {
			for second := range 12 {
				name := fmt.Sprintf("%s, %s stopped after %d steps, %s stopped after %d", c.old, c.signers, first, c.again, second)
				s := newSealTest(t)
				if err := s.seal(1, c.old, always); err != nil {
					t.Fatal(err)
				}
				stay := both(c.old, c.signers)
				err := s.seal(2, c.signers, first)
				s.wantBoots(stay, name, 1, 2)
				if err == nil {
					s.wantBoots(c.signers, name, 2)
				} else if !errors.Is(err, errStopped) {
					t.Fatal(err)
				}
				if stay = both(stay, c.again); s.seal(3, c.again, second) != nil {
					s.wantBoots(stay, name, 1, 2, 3)
				}
				if err := s.seal(4, c.again, always); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				s.wantBoots(c.again, name, 4)
				if left := s.files.seal().Signatures; len(left) != len(c.again) {
					t.Fatalf("%s: %d signatures are left", name, len(left))
				}
			}
		}
	}
}

// both returns the keys that are in both lists.
func both(a, b string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(b, r) {
			return r
		}
		return -1
	}, a)
}

// A step that fails, rather than the machine, leaves nothing of the new seal.
func TestASealingThatFailsTakesBackWhatItDid(t *testing.T) {
	s := newSealTest(t)
	if err := s.seal(1, "ab", always); err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(s.files)
	text, signatures, known := s.signed(2, "ab")
	for fails := range 3 { // two signatures and the text
		if err := s.sealing(&failing{s.files, fails}, known).write(text, signatures); !errors.Is(err, errStopped) {
			t.Fatal(err)
		}
		if !maps.EqualFunc(s.files, before, bytes.Equal) {
			t.Errorf("step %d failed: found %d files, want %d", fails, len(s.files), len(before))
		}
		s.wantBoots("ab", fmt.Sprint("failed step ", fails), 1)
	}
}

// failing is a store in which one put fails.
type failing struct {
	sealStore
	at int
}

func (f *failing) put(file sign.File, content []byte) error {
	if f.at--; f.at == -1 {
		return errStopped
	}
	return f.sealStore.put(file, content)
}

// Without the public keys, what an interruption left is kept rather than guessed at.
func TestAnInterruptedSealingThatCantBeUnderstood(t *testing.T) {
	s := newSealTest(t)
	if err := s.seal(1, "ba", always); err != nil { // a is the second: two places
		t.Fatal(err)
	}
	if err := s.seal(2, "ba", 3); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	text, signatures, known := s.signed(3, "ba")
	if err := s.sealing(s.files, nil).write(text, signatures); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	s.wantBoots("ab", "after a refusal", 2)
	if err := s.sealing(s.files, known).write(text, signatures); err != nil {
		t.Fatal(err)
	}
	s.wantBoots("ab", "with the keys", 3)
}
