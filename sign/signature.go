package sign

import (
	"errors"
	"fmt"

	"aead.dev/minisign"
)

// MaxSignatureSize is the size of the longest signature file in bytes.
const MaxSignatureSize = 1024

// ErrBadSignature is the cause when a signature doesn't hold, or is none.
var ErrBadSignature = errors.New("bad signature")

// ErrLegacy is the cause when a signature is of the text itself instead of its hash, as
// minisign made them before 0.10 and still makes them with -l.
var ErrLegacy = errors.New("in the legacy form, without prehashing")

// A Signature is the content of a .minisig file.
type Signature struct {
	KeyID   KeyID  // of the key that it claims to be by; only verifying tells
	Comment string // the trusted comment, which is signed too
	text    string
}

// Text returns the content of the file.
func (s Signature) Text() []byte { return []byte(s.text) }

// ParseSignature reads a signature as minisign writes it, byte for byte: four
// lines, and nothing after them. Signatures without prehashing are refused.
func ParseSignature(text []byte) (Signature, error) {
	if len(text) > MaxSignatureSize {
		return Signature{}, fmt.Errorf("%w: want at most %d bytes, found %d", ErrBadSignature, MaxSignatureSize, len(text))
	}
	if err := checkLineEnds(string(text)); err != nil {
		return Signature{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(text); err != nil {
		return Signature{}, fmt.Errorf("%w: want the four lines that minisign writes, found %d bytes that aren't: %w",
			ErrBadSignature, len(text), err)
	}
	if s.Algorithm != minisign.HashEdDSA {
		return Signature{}, fmt.Errorf("%w: key %s made it %w", ErrBadSignature, KeyID(s.KeyID), ErrLegacy)
	}
	// The decoder is lenient about base64 and line ends. A signature is to have one form.
	if s.String() != string(text) {
		return Signature{}, fmt.Errorf("%w: want the four lines that minisign writes, each ended by LF, found something else in or after them",
			ErrBadSignature)
	}
	return Signature{KeyID(s.KeyID), s.TrustedComment, string(text)}, nil
}

// Verify checks that the key made the signature for the message. The zero key has made none.
func (k Key) Verify(message []byte, s Signature) error {
	// Anybody can make what minisign takes for a signature by a key of zeros.
	if k.key.Equal(minisign.PublicKey{}) || !minisign.Verify(k.key, message, []byte(s.text)) {
		return fmt.Errorf("%w: key %s didn't make it for this text", ErrBadSignature, k)
	}
	return nil
}
