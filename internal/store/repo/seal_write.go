package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// ErrInterrupted is the cause when an earlier sealing was stopped and it can't be told
// which of its signatures count.
var ErrInterrupted = errors.New("an earlier sealing of this image was interrupted")

// A Signature is one over the text of a seal.
type Signature struct {
	KeyID sign.KeyID // of the key that it is by
	Text  []byte
}

// WriteSeal stores the text of a seal with its signatures, and keeps those there by other
// keys if the text is the same. Of another text they go.
//
// Whoever is stopped here, at any point, leaves a seal that holds for everybody for whom
// the one before or the new one does: a signature of a key stays until the text that it
// is of has gone, and the next is there before its text comes. The boot looks for a
// signature in several places, of which one is free:
//
//	signatures of the new text  →  the new text  →  signatures in their usual places  →
//	those that are left over go
//
// known are public keys that can tell which signatures hold. They are needed only after
// an interruption.
func (r *Repo) WriteSeal(d verity.Digest, text []byte, signatures []Signature, known sign.Keyring) error {
	if err := r.root.MkdirAll("seals", 0o755); err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	dir, err := osfile.OpenDirPlain(r.lock, "seals")
	if err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	defer dir.Close()
	if err := osfile.Lock(dir, true); err != nil { // one at a time
		return fmt.Errorf("write seal: %w", err)
	}
	have, err := r.ReadSeal(d)
	if errors.Is(err, fs.ErrNotExist) {
		have.Text = nil
		have.Signatures, err = r.readSignatures(sign.SealName(d))
	}
	if err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	osfile.Sweep(dir)
	s := sealing{sealDir{r.root, dir, sign.SealName(d)}, d, have, known}
	return s.write(text, signatures)
}

// A sealStore is what happens to the files of one seal. A file is there with all of its
// content, or as it was.
type sealStore interface {
	put(suffix string, content []byte) error
	remove(suffix string) error
}

type sealDir struct {
	root *os.Root
	dir  *os.File
	name string
}

func (s sealDir) put(suffix string, content []byte) error {
	return osfile.Replace(s.dir, s.name+suffix, 0o644, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

func (s sealDir) remove(suffix string) error {
	if err := s.root.Remove(path.Join("seals", s.name+suffix)); err != nil {
		return err
	}
	return osfile.SyncDir(s.dir)
}

// A sealing puts signatures, and perhaps a text, beside what there is.
type sealing struct {
	store sealStore
	image verity.Digest
	have  Seal
	known sign.Keyring
}

func (s *sealing) write(text []byte, signatures []Signature) error {
	if bytes.Equal(s.have.Text, text) {
		return s.add(signatures)
	}
	return s.replace(text, signatures)
}

// The places of a signature, as the part of the file's name after ".seal".
func (s *sealing) first() string { return s.suffix(sign.SignatureName(s.image)) }
func (s *sealing) own(id sign.KeyID) string {
	return s.suffix(sign.KeySignatureName(s.image, id))
}
func (s *sealing) next(id sign.KeyID) string {
	return s.suffix(sign.NextSignatureName(s.image, id))
}
func (s *sealing) suffix(name string) string {
	return strings.TrimPrefix(name, sign.SealName(s.image))
}

// add adds signatures of the text that is there. Others by the same keys, which an
// interruption has left, go.
func (s *sealing) add(signatures []Signature) error {
	written := map[string]bool{}
	for _, sig := range signatures {
		place := s.first()
		if other, taken := s.have.Signatures[place]; taken && !madeBy(other, sig.KeyID) {
			place = s.own(sig.KeyID)
		}
		if err := s.store.put(place, sig.Text); err != nil {
			return fmt.Errorf("write signature: %w", err)
		}
		s.have.Signatures[place], written[place] = sig.Text, true
	}
	for _, place := range slices.Sorted(maps.Keys(s.have.Signatures)) {
		ours := slices.ContainsFunc(signatures, func(sig Signature) bool { return madeBy(s.have.Signatures[place], sig.KeyID) })
		if !ours || written[place] {
			continue
		}
		if err := s.store.remove(place); err != nil {
			return fmt.Errorf("the new signature holds, but an outdated one is left: %w", err)
		}
	}
	return nil
}

// replace puts another text in the place of the one there, or of none.
func (s *sealing) replace(text []byte, signatures []Signature) error {
	waiting := map[string][]byte{} // by the place where they wait for their text
	usual := map[string][]byte{}   // by the place where they belong
	undo := func(err error) error {
		for place := range waiting {
			if _, old := s.have.Signatures[place]; !old {
				err = errors.Join(err, s.store.remove(place))
			}
		}
		return err
	}
	counts := maps.Clone(s.have.Signatures)
	for i, sig := range signatures {
		places := []string{s.own(sig.KeyID), s.next(sig.KeyID)}
		usual[places[0]] = sig.Text
		if i == 0 {
			delete(usual, places[0])
			places, usual[s.first()] = []string{places[0], s.first(), places[1]}, sig.Text
		}
		place, err := s.free(places, counts)
		if err == nil {
			delete(counts, place)
			err = s.store.put(place, sig.Text)
		}
		if err != nil {
			return undo(fmt.Errorf("write signature: %w", err))
		}
		waiting[place] = sig.Text
	}
	if err := s.store.put("", text); err != nil {
		return undo(fmt.Errorf("write seal: %w", err))
	}
	return s.tidy(usual, waiting)
}

// tidy brings the signatures of the new text to where they belong.
func (s *sealing) tidy(usual, waiting map[string][]byte) error {
	for _, place := range slices.Sorted(maps.Keys(usual)) {
		if bytes.Equal(waiting[place], usual[place]) {
			continue
		}
		if err := s.store.put(place, usual[place]); err != nil {
			return fmt.Errorf("the new seal holds, but not all of its signatures are in their places: %w", err)
		}
	}
	left := maps.Clone(s.have.Signatures)
	maps.Copy(left, waiting)
	for _, place := range slices.Sorted(maps.Keys(left)) {
		if usual[place] != nil {
			continue
		}
		if err := s.store.remove(place); err != nil {
			return fmt.Errorf("the new seal holds, but an outdated signature is left: %w", err)
		}
	}
	return nil
}

// free returns the first place where no signature is that counts: that holds, and is
// nowhere else.
func (s *sealing) free(places []string, counts map[string][]byte) (string, error) {
	for _, place := range places {
		there, taken := counts[place]
		if !taken || s.useless(there) {
			return place, nil
		}
		for other, text := range counts {
			if other != place && bytes.Equal(text, there) {
				return place, nil
			}
		}
	}
	return "", fmt.Errorf("%w, and it can't be told without the public keys which of its signatures count", ErrInterrupted)
}

// useless reports whether nobody accepts the text that is there by the signature.
func (s *sealing) useless(signature []byte) bool {
	parsed, err := sign.ParseSignature(signature)
	if err != nil || len(s.have.Text) == 0 {
		return true
	}
	known := false
	for _, k := range s.known {
		if k.ID != parsed.KeyID {
			continue
		}
		if k.Verify(s.have.Text, parsed) == nil {
			return false
		}
		known = true
	}
	return known
}

func madeBy(signature []byte, key sign.KeyID) bool {
	s, err := sign.ParseSignature(signature)
	return err == nil && s.KeyID == key
}
