package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// ErrInterrupted is the cause when an earlier sealing was stopped and it can't be told
// which of its signatures count.
var ErrInterrupted = errors.New("an earlier sealing of this image was interrupted")

// AddSignatures stores a seal with signatures of it, and keeps those there by other keys if
// the text is the same. Of another text they go. Nobody here verifies the signatures.
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
func (r *Repo) AddSignatures(seal sign.Seal, signatures []sign.Signature, known sign.Keyring) error {
	image := seal.Statement().Digest
	if err := r.addSignatures(image, seal.Text(), signatures, known); err != nil {
		return fmt.Errorf("seal image %s: %w", image.Hex(), err)
	}
	return nil
}

func (r *Repo) addSignatures(image verity.Digest, text []byte, signatures []sign.Signature, known sign.Keyring) error {
	if err := r.root.MkdirAll(sign.Directory, 0o755); err != nil {
		return err
	}
	dir, err := osfile.OpenDirPlain(r.lock, sign.Directory)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := osfile.Lock(dir, true); err != nil { // one at a time
		return err
	}
	have, err := r.ReadSeal(image)
	if errors.Is(err, fs.ErrNotExist) {
		have.Text = nil
		have.Signatures, err = r.readSignatures(image)
	}
	if err != nil {
		return err
	}
	osfile.Sweep(dir)
	s := sealing{sealDir{r.root, dir}, image, have, known}
	return s.write(text, signatures)
}

// A sealStore is what happens to the files of one seal. A file is there with all of its
// content, or as it was.
type sealStore interface {
	put(f sign.File, content []byte) error
	remove(f sign.File) error
}

type sealDir struct {
	root *os.Root
	dir  *os.File
}

func (s sealDir) put(f sign.File, content []byte) error {
	return osfile.Replace(s.dir, f.Name(), 0o644, func(w *os.File) error {
		_, err := w.Write(content)
		return err
	})
}

func (s sealDir) remove(f sign.File) error {
	if err := s.root.Remove(sealPath(f)); err != nil {
		return err
	}
	return osfile.SyncDir(s.dir)
}

// A sealing puts signatures, and perhaps a text, beside what there is.
type sealing struct {
	store sealStore
	image verity.Digest
	have  SealFiles
	known sign.Keyring
}

func (s *sealing) write(text []byte, signatures []sign.Signature) error {
	if bytes.Equal(s.have.Text, text) {
		return s.add(signatures)
	}
	return s.replace(text, signatures)
}

// The places of a signature.
func (s *sealing) first() sign.File             { return sign.SignatureFile(s.image) }
func (s *sealing) own(id sign.KeyID) sign.File  { return sign.KeySignatureFile(s.image, id) }
func (s *sealing) next(id sign.KeyID) sign.File { return sign.NextSignatureFile(s.image, id) }

// inOrder returns the files of signatures in the order of their names.
func inOrder[T any](signatures map[sign.File]T) []sign.File {
	return slices.SortedFunc(maps.Keys(signatures), sign.File.Compare)
}

// add adds signatures of the text that is there. Others by the same keys, which an
// interruption has left, go.
func (s *sealing) add(signatures []sign.Signature) error {
	written := map[sign.File]bool{}
	for _, sig := range signatures {
		place := s.first()
		if other, taken := s.have.Signatures[place]; taken && !madeBy(other, sig.KeyID) {
			place = s.own(sig.KeyID)
		}
		if err := s.store.put(place, sig.Text()); err != nil {
			return fmt.Errorf("write signature: %w", err)
		}
		s.have.Signatures[place], written[place] = sig.Text(), true
	}
	for _, place := range inOrder(s.have.Signatures) {
		ours := slices.ContainsFunc(signatures, func(sig sign.Signature) bool { return madeBy(s.have.Signatures[place], sig.KeyID) })
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
func (s *sealing) replace(text []byte, signatures []sign.Signature) error {
	waiting := map[sign.File][]byte{} // by the place where they wait for their text
	usual := map[sign.File][]byte{}   // by the place where they belong
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
		places := []sign.File{s.own(sig.KeyID), s.next(sig.KeyID)}
		usual[places[0]] = sig.Text()
		if i == 0 {
			delete(usual, places[0])
			places, usual[s.first()] = []sign.File{places[0], s.first(), places[1]}, sig.Text()
		}
		place, err := s.free(places, counts)
		if err == nil {
			delete(counts, place)
			err = s.store.put(place, sig.Text())
		}
		if err != nil {
			return undo(fmt.Errorf("write signature: %w", err))
		}
		waiting[place] = sig.Text()
	}
	if err := s.store.put(sign.TextFile(s.image), text); err != nil {
		return undo(fmt.Errorf("write seal: %w", err))
	}
	return s.tidy(usual, waiting)
}

// tidy brings the signatures of the new text to where they belong.
func (s *sealing) tidy(usual, waiting map[sign.File][]byte) error {
	for _, place := range inOrder(usual) {
		if bytes.Equal(waiting[place], usual[place]) {
			continue
		}
		if err := s.store.put(place, usual[place]); err != nil {
			return fmt.Errorf("the new seal holds, but not all of its signatures are in their places: %w", err)
		}
	}
	left := maps.Clone(s.have.Signatures)
	maps.Copy(left, waiting)
	for _, place := range inOrder(left) {
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
func (s *sealing) free(places []sign.File, counts map[sign.File][]byte) (sign.File, error) {
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
	return sign.File{}, fmt.Errorf("%w, and it can't be told without the public keys which of its signatures count", ErrInterrupted)
}

// useless reports whether no one accepts the present text because of the signature.
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
