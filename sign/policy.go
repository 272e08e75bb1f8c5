package sign

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/composefs-go/composefs/verity"
)

// A Need says how much a seal matters. The zero value requires one.
type Need string

// The needs, as [verify] signature of the boot's policy has them.
const (
	Require  Need = "require"
	Optional Need = "optional" // none is accepted, a bad one is refused
	Off      Need = "off"      // not looked at; revoked images are refused all the same
)

// A Policy is what a seal is checked against. It comes from a source that the user
// trusts, never from beside the image.
type Policy struct {
	Need            Need            // for Check
	Keys            Keyring         // whose signatures count; one is enough
	MinimumSequence uint64          // images with a lower one are refused
	Revoked         []verity.Digest // images that are refused, whoever signed them
	OSIDs           []string        // the seal must name one of them, if there are any
	Ref             string          // by which the image was asked for; "" if by its digest
}

// Verify decides whether the image with the digest want is ours, by its seal and
// the seal's signatures: the contents of the files, empty if there is none. The
// digest is the one that was measured, not the one that was asked for. Need has no effect:
// a seal is required.
//
// Nothing of the seal is read before a signature has held. Signatures that don't
// count do no harm beside one that does. An error is a *RefusedError.
func (p Policy) Verify(want verity.Digest, seal []byte, signatures [][]byte) (Verdict, error) {
	v, err := p.verify(want, seal, signatures)
	return refused(want, v, err)
}

func (p *Policy) verify(want verity.Digest, text []byte, signatures [][]byte) (Verdict, error) {
	if err := p.checkRevoked(want); err != nil {
		return Verdict{}, err
	}
	if len(text) == 0 {
		return Verdict{}, fmt.Errorf("%w: want a statement in the file %s", ErrNoSeal, TextFile(want).Name())
	}
	key, err := p.findSigner(want, text, signatures)
	if err != nil {
		return Verdict{}, err
	}
	seal, err := ParseSeal(text)
	if err != nil {
		return Verdict{}, fmt.Errorf("%w (key %s signed it all the same)", err, key)
	}
	s := seal.statement
	if s.Digest != want {
		return Verdict{}, fmt.Errorf("%w: want %s, found %s", ErrOtherDigest, want, s.Digest)
	}
	if s.Sequence < p.MinimumSequence {
		return Verdict{}, fmt.Errorf("%w: want sequence %d or higher, found %d", ErrTooOld, p.MinimumSequence, s.Sequence)
	}
	if err := p.checkProduct(&s); err != nil {
		return Verdict{}, err
	}
	return Verdict{Sealed, s, key}, nil
}

// checkProduct keeps an image away that the same key has sealed for something else.
func (p *Policy) checkProduct(s *Statement) error {
	if len(p.OSIDs) > 0 && !slices.Contains(p.OSIDs, s.OSID) {
		found := "none"
		if s.OSID != "" {
			found = strconv.Quote(s.OSID)
		}
		return fmt.Errorf("%w: want os-id %s, found %s", ErrOtherSystem, join(p.OSIDs), found)
	}
	if p.Ref != "" && len(s.Refs) > 0 && !slices.Contains(s.Refs, p.Ref) {
		return fmt.Errorf("%w: want %s, found %s", ErrOtherRef, p.Ref, join(s.Refs))
	}
	return nil
}

// checkRevoked refuses an image that the policy lists. That takes no seal.
func (p *Policy) checkRevoked(image verity.Digest) error {
	if slices.Contains(p.Revoked, image) {
		return fmt.Errorf("%w: the policy lists %s", ErrRevoked, image)
	}
	return nil
}

// findSigner returns a trusted key that signed the seal. If there is none, the
// error is about the signature that came nearest.
func (p *Policy) findSigner(want verity.Digest, seal []byte, signatures [][]byte) (Key, error) {
	signatures = slices.DeleteFunc(slices.Clone(signatures), func(s []byte) bool { return len(s) == 0 })
	switch {
	case len(p.Keys) == 0:
		return Key{}, ErrNoKeys
	case len(signatures) == 0:
		return Key{}, fmt.Errorf("%w: want a signature in the file %s", ErrUnsigned, SignatureFile(want).Name())
	case len(seal) > MaxSealSize:
		return Key{}, fmt.Errorf("%w seal: want at most %d bytes, found %d", ErrMalformed, MaxSealSize, len(seal))
	}
	var (
		bad     error    // of the first signature that doesn't hold
		unknown []string // keys of signatures that no trusted key can check
	)
	for _, text := range signatures {
		key, id, err := p.Keys.signer(seal, text)
		switch {
		case err == nil:
			return key, nil
		case errors.Is(err, ErrUnknownKey):
			unknown = append(unknown, id.String())
		case bad == nil:
			bad = err
		}
	}
	if bad != nil {
		return Key{}, fmt.Errorf("%w: the seal, the signature or the key was changed or cut off", bad)
	}
	return Key{}, fmt.Errorf("%w: it is signed by %s, trusted are %s", ErrUnknownKey, join(unknown), p.Keys)
}

// signer returns the key that made the signature, and the number of the key that
// the signature names. That is no more than a hint, so all keys that share it are
// tried; if none has it, the error is ErrUnknownKey.
func (k Keyring) signer(message, text []byte) (Key, KeyID, error) {
	sig, err := ParseSignature(text)
	if err != nil {
		return Key{}, 0, err
	}
	err = ErrUnknownKey
	for _, key := range k {
		if key.ID != sig.KeyID {
			continue
		}
		if err = key.Verify(message, sig); err == nil {
			return key, key.ID, nil
		}
	}
	return Key{}, sig.KeyID, err
}
