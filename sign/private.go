package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"aead.dev/minisign"
)

// ErrPassword is the cause when a private key can't be decrypted.
var ErrPassword = errors.New("wrong password or damaged key")

// A PrivateKey signs seals. Its files are minisign's.
type PrivateKey struct {
	key minisign.PrivateKey
}

// NewKey makes a private key from the system's random numbers.
func NewKey() (PrivateKey, error) {
	_, private, err := minisign.GenerateKey(nil)
	return PrivateKey{private}, err
}

// Public returns the key that verifies what p signs.
func (p PrivateKey) Public(name string) Key {
	public, _ := p.key.Public().(minisign.PublicKey)
	return Key{name, KeyID(public.ID()), public}
}

// ID returns the number that p shares with its public key.
func (p PrivateKey) ID() KeyID { return KeyID(p.key.ID()) }

// Text returns the key as the file that minisign -s reads. With a password it is
// encrypted, by a method that is meant to take a second and 1 GiB of memory.
func (p PrivateKey) Text(password string) ([]byte, error) {
	text, err := p.text(password)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

func (p PrivateKey) text(password string) ([]byte, error) {
	if p.isZero() {
		return nil, errZeroKey
	}
	if password == "" {
		return p.key.MarshalText()
	}
	return minisign.EncryptKey(password, p.key)
}

// errZeroKey is for the zero PrivateKey, which is none.
var errZeroKey = errors.New("want a private key from NewKey or ParsePrivateKey, found none")

func (p PrivateKey) isZero() bool { return p.key.Equal(minisign.PrivateKey{}) }

// IsEncrypted reports whether ParsePrivateKey needs a password for the text.
func IsEncrypted(text []byte) bool {
	return len(text) <= MaxKeySize && minisign.IsEncrypted(text)
}

// ParsePrivateKey reads a private key from minisign's file. The password is
// without effect if the key isn't encrypted.
func ParsePrivateKey(text []byte, password string) (PrivateKey, error) {
	if len(text) > MaxKeySize {
		return PrivateKey{}, fmt.Errorf("%w private key: want at most %d bytes, found %d", ErrMalformed, MaxKeySize, len(text))
	}
	var p PrivateKey
	if IsEncrypted(text) {
		key, err := minisign.DecryptKey(password, text)
		if err != nil {
			return PrivateKey{}, fmt.Errorf("decrypt the private key: %w", ErrPassword)
		}
		p.key = key
	} else if err := p.key.UnmarshalText(text); err != nil {
		return PrivateKey{}, fmt.Errorf("%w private key: want a secret key as mkimage key new or minisign -G writes it: %w", ErrMalformed, err)
	}
	// The file holds the public half too, and a signature made with a wrong one holds for nobody.
	if !p.sound() {
		return PrivateKey{}, fmt.Errorf("%w private key: its two halves don't belong together", ErrMalformed)
	}
	return p, nil
}

func (p PrivateKey) sound() bool {
	probe := []byte("probe")
	sig, err := ParseSignature(p.sign(probe, ""))
	return err == nil && p.Public("").Verify(probe, sig) == nil
}

// Sign returns a signature of a seal. Without a seal the error is ErrNoSeal.
func Sign(seal Seal, key PrivateKey) (Signature, error) {
	if seal.IsZero() {
		return Signature{}, ErrNoSeal
	}
	if key.isZero() {
		return Signature{}, errZeroKey
	}
	s := seal.statement
	return ParseSignature(key.sign(seal.Text(), fmt.Sprintf("composefs seal of %s, sequence %d", s.Digest, s.Sequence)))
}

// sign is without the time of day, so that signing twice gives the same.
func (p PrivateKey) sign(message []byte, comment string) []byte {
	r := minisign.NewReader(bytes.NewReader(message))
	_, _ = io.Copy(io.Discard, r) // from memory
	return r.SignWithComments(p.key, comment, "signature by composefs key "+p.ID().String())
}
