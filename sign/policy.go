package sign

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/composefs-go/composefs/verity"
)

// Why an image is refused. ErrMalformed and ErrBadSignature are further reasons.
var (
	ErrNoSeal      = errors.New("image has no seal")
	ErrUnsigned    = errors.New("seal has no signature")
	ErrNoKeys      = errors.New("no key is trusted")
	ErrUnknownKey  = errors.New("seal is signed by no trusted key")
	ErrOtherDigest = errors.New("seal is for another image")
	ErrRevoked     = errors.New("image is revoked")
	ErrTooOld      = errors.New("image is too old")
	ErrOtherSystem = errors.New("image is of another system")
	ErrOtherRef    = errors.New("seal is for another ref")
)

// A Policy is what a seal is held against. It comes from a source that the user
// trusts, never from beside the image.
type Policy struct {
	Need            Need            // for Check
	Keys            Keyring         // whose signatures count; one is enough
	MinimumSequence uint64          // images with a lower one are refused
	Revoked         []verity.Digest // images that are refused, whoever signed them
	OSIDs           []string        // the seal must name one of them, if there are any
	Ref             string          // that the image was asked for by; "" if it was by its digest
}

// A Verdict is the proof that an image is ours.
type Verdict struct {
	Seal Seal
	Key  Key // that signed it
}

// Verify decides whether the image with the digest want is ours, by its seal and
// the seal's signatures: the contents of the files, empty if there is none. The
// digest is the one that was measured, not one that was asked for.
//
// Nothing of the seal is read before a signature has held. Signatures that don't
// count do no harm beside one that does.
func (p Policy) Verify(want verity.Digest, seal []byte, signatures [][]byte) (Verdict, error) {
	if err := p.CheckRevoked(want); err != nil {
		return Verdict{}, err
	}
	if len(seal) == 0 {
		return Verdict{}, fmt.Errorf("%w: want the file %s: seal the image with `mkimage seal`", ErrNoSeal, SealName(want))
	}
	key, err := p.findSigner(want, seal, signatures)
	if err != nil {
		return Verdict{}, err
	}
	s, err := ParseSeal(seal)
	if err != nil {
		return Verdict{}, fmt.Errorf("%w (key %s signed it all the same)", err, key)
	}
	if s.Digest != want {
		return Verdict{}, fmt.Errorf("%w: want %s, found %s: each image needs a seal of its own, from `mkimage seal`", ErrOtherDigest, want, s.Digest)
	}
	if s.Sequence < p.MinimumSequence {
		return Verdict{}, fmt.Errorf("%w: want sequence %d or higher, found %d: boot a newer image",
			ErrTooOld, p.MinimumSequence, s.Sequence)
	}
	if err := p.checkProduct(s); err != nil {
		return Verdict{}, err
	}
	return Verdict{s, key}, nil
}

// checkProduct keeps an image that the same key has sealed for something else away.
func (p Policy) checkProduct(s Seal) error {
	if len(p.OSIDs) > 0 && !slices.Contains(p.OSIDs, s.OSID) {
		found := "none"
		if s.OSID != "" {
			found = strconv.Quote(s.OSID)
		}
		return fmt.Errorf("%w: want os-id %s, found %s: boot an image that was sealed with this --os-id", ErrOtherSystem, join(p.OSIDs), found)
	}
	if refs := s.Refs.List(); p.Ref != "" && len(refs) > 0 && !slices.Contains(refs, p.Ref) {
		return fmt.Errorf("%w: want %s, found %s: let the ref point to an image that was sealed for it", ErrOtherRef, p.Ref, join(refs))
	}
	return nil
}

// CheckRevoked returns an error if the image is one that the policy refuses by its
// digest. Verify does the same; it is for images that need no seal.
func (p Policy) CheckRevoked(image verity.Digest) error {
	if slices.Contains(p.Revoked, image) {
		return fmt.Errorf("%w: the policy lists %s: boot another one", ErrRevoked, image)
	}
	return nil
}

// findSigner returns a trusted key that signed the seal. If there is none, the
// error is about the signature that came nearest.
func (p Policy) findSigner(want verity.Digest, seal []byte, signatures [][]byte) (Key, error) {
	signatures = slices.DeleteFunc(slices.Clone(signatures), func(s []byte) bool { return len(s) == 0 })
	switch {
	case len(p.Keys) == 0:
		return Key{}, fmt.Errorf("%w: put the .pub file of the signing key into the initramfs", ErrNoKeys)
	case len(signatures) == 0:
		return Key{}, fmt.Errorf("%w: want the file %s: sign with `mkimage seal` or minisign -Sm", ErrUnsigned, SignatureName(want))
	case len(seal) > MaxSealSize:
		return Key{}, fmt.Errorf("%w seal: want at most %d bytes, found %d", ErrMalformed, MaxSealSize, len(seal))
	}
	var (
		bad     error    // of the first signature that doesn't hold
		unknown []string // keys of signatures that nobody here can check
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
		return Key{}, fmt.Errorf("%w: the seal, the signature or the key was changed or cut off: seal the image again with `mkimage seal`", bad)
	}
	return Key{}, fmt.Errorf("%w: it is signed by %s, trusted are %s: seal it with one of these, or add the other's .pub file to the initramfs",
		ErrUnknownKey, join(unknown), p.Keys)
}

// signer returns the key that made the signature, and the number of the key that
// the signature names. That is no more than a hint, so all keys that share it are
// tried; none has it is ErrUnknownKey.
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
