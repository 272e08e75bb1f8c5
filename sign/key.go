package sign

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aead.dev/minisign"
)

// MaxKeySize is the size of the longest key file in bytes.
const MaxKeySize = 1024

// A KeyID is the number that signatures name a key by. It is a hint, and no more:
// nothing keeps two keys from sharing one.
type KeyID uint64

// String returns the number as minisign shows it, with all 16 digits.
func (id KeyID) String() string { return fmt.Sprintf("%016X", uint64(id)) }

// MarshalText returns the same as String, so that JSON has it too.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText returns.
func (id *KeyID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || KeyID(n).String() != string(text) {
		return fmt.Errorf("%w key ID %.40q: want 16 hex digits in upper case", ErrMalformed, text)
	}
	*id = KeyID(n)
	return nil
}

// A Key is a public key, which verifies signatures.
type Key struct {
	Name string // what its owner calls it; the file's name without .pub
	ID   KeyID
	key  minisign.PublicKey
}

// String returns the key's number and name, for people.
func (k Key) String() string {
	if k.Name == "" {
		return k.ID.String()
	}
	return fmt.Sprintf("%s (%q)", k.ID, k.Name)
}

// Text returns the key as the .pub file that minisign reads.
func (k Key) Text() []byte {
	return fmt.Appendf(nil, "%sminisign public key %s\n%s\n", commentPrefix, k.ID, k.key)
}

// Equal reports whether both are the same key, whatever they are called.
func (k Key) Equal(other Key) bool { return k.key.Equal(other.key) }

const commentPrefix = "untrusted comment: "

// ParseKey reads a public key as minisign writes it: a comment and a line of
// base64. The comment may be left out.
func ParseKey(name string, text []byte) (Key, error) {
	k, err := parseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("%w key %q: %w", ErrMalformed, name, err)
	}
	return Key{name, KeyID(k.ID()), k}, nil
}

func parseKey(text string) (k minisign.PublicKey, err error) {
	if len(text) > MaxKeySize {
		return k, fmt.Errorf("want at most %d bytes, found %d", MaxKeySize, len(text))
	}
	if err := checkLineEnds(text); err != nil {
		return k, err
	}
	line := strings.TrimSuffix(text, "\n")
	if comment, rest, ok := strings.Cut(line, "\n"); ok && strings.HasPrefix(comment, commentPrefix) {
		line = rest
	}
	if err := k.UnmarshalText([]byte(line)); err != nil {
		return k, fmt.Errorf("want a minisign public key, the .pub file that mkimage key new or minisign -G writes: %w", err)
	}
	if k.String() != line { // the decoder is lenient about base64 and line ends
		return k, errors.New("want one comment and one line of base64, each ended by LF, found something else in or after them")
	}
	if hasSmallOrder(k) {
		return k, errors.New("anyone can make signatures that it verifies: it is no point of large order")
	}
	return k, nil
}

// ErrLineEnds is the cause when a text has the line ends of Windows: on the way to us
// somebody or something changed it.
var ErrLineEnds = errors.New("its lines end with CR LF, as Windows writes them; want LF alone")

func checkLineEnds(text string) error {
	if strings.Contains(text, "\r\n") {
		return ErrLineEnds
	}
	return nil
}

// smallOrder are the y coordinates, in little endian without the sign bit, of the
// eight points of Ed25519 whose order divides 8. Signatures for these keys can be
// made without a secret; a key file that was zeroed is one of them.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 0 again, plus 2^255-19
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 1 again
}

func hasSmallOrder(k minisign.PublicKey) bool {
	b, _ := base64.StdEncoding.DecodeString(k.String()) // which was just made of the key's bytes
	y := b[len(b)-ed25519.PublicKeySize:]
	y[len(y)-1] &= 0x7f
	return slices.Contains(smallOrder, hex.EncodeToString(y))
}
