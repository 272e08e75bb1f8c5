package verity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// An Algorithm is a hash algorithm, by its number in the kernel's fs-verity interface
// (include/uapi/linux/fsverity.h).
type Algorithm uint8

// The two algorithms that fs-verity knows.
const (
	SHA256 Algorithm = 1
	SHA512 Algorithm = 2
)

// BlockSize is the size in bytes of the blocks of files and of Merkle trees. composefs
// uses no other.
const BlockSize = 4096

// algorithms maps an Algorithm to its hash name and digest size in bytes.
var algorithms = [...]struct {
	hash string
	size int
}{SHA256: {"sha256", 32}, SHA512: {"sha512", 64}}

// Valid reports whether a is an algorithm of this package.
func (a Algorithm) Valid() bool { return a == SHA256 || a == SHA512 }

// Size returns the length of a digest in bytes: 32 or 64, 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	if !a.Valid() {
		return 0
	}
	return algorithms[a].size
}

// Hash returns the bare name of the hash, as in "sha256".
func (a Algorithm) Hash() string {
	if !a.Valid() {
		return fmt.Sprintf("unknown-%d", uint8(a))
	}
	return algorithms[a].hash
}

// String returns the name of the algorithm as in meta.json and in seals: "fsverity", the
// hash and log2 of the block size, as in "fsverity-sha256-12".
func (a Algorithm) String() string { return "fsverity-" + a.Hash() + "-12" }

// ErrAlgorithm is the cause when a name or a number isn't one of an algorithm.
var ErrAlgorithm = errors.New("unknown fs-verity algorithm")

// ParseAlgorithm parses "fsverity-sha256-12" or "sha256", or the same with sha512.
func ParseAlgorithm(s string) (Algorithm, error) {
	for a := SHA256; a <= SHA512; a++ {
		if s == a.String() || s == a.Hash() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%w: want sha256 or sha512 (fsverity-sha256-12, fsverity-sha512-12), found %q", ErrAlgorithm, s)
}

// A Digest is the fs-verity digest of a file: the hash of its descriptor, which
// holds the file's size and the root of its Merkle tree. Digests can be compared with
// == and used as map keys. The zero value means that there is no digest.
type Digest struct {
	alg Algorithm
	sum [64]byte
}

// ErrDigest is the cause when a text or bytes aren't a digest.
var ErrDigest = errors.New("malformed digest")

// NewDigest returns the Digest with the raw bytes sum, of which there must be alg.Size().
func NewDigest(alg Algorithm, sum []byte) (Digest, error) {
	if !alg.Valid() {
		return Digest{}, fmt.Errorf("%w: number %d", ErrAlgorithm, alg)
	}
	if len(sum) != alg.Size() {
		return Digest{}, fmt.Errorf("%w: %s has %d bytes, found %d", ErrDigest, alg, alg.Size(), len(sum))
	}
	d := Digest{alg: alg}
	copy(d.sum[:], sum)
	return d, nil
}

// ParseHex parses a digest in lower-case hexadecimal. Upper case is refused: files are
// named by digests, so a digest has only one spelling.
func ParseHex(alg Algorithm, s string) (Digest, error) {
	if len(s) != 2*alg.Size() || len(s) == 0 {
		return Digest{}, fmt.Errorf("%w: want %d hex digits of %s, found %d in %.140q", ErrDigest, 2*alg.Size(), alg, len(s), s)
	}
	if i := strings.IndexFunc(s, notLowerHex); i >= 0 {
		return Digest{}, fmt.Errorf("%w: want lower-case hex, found %q at position %d of %q", ErrDigest, s[i:i+1], i, s)
	}
	sum, err := hex.DecodeString(s)
	if err != nil {
		return Digest{}, fmt.Errorf("%w: %w", ErrDigest, err)
	}
	return NewDigest(alg, sum)
}

// ParseAnyHex is ParseHex for names of objects and images, where the length tells the
// algorithm.
func ParseAnyHex(s string) (Digest, error) {
	if len(s) == 2*SHA512.Size() {
		return ParseHex(SHA512, s)
	}
	if len(s) != 2*SHA256.Size() {
		return Digest{}, fmt.Errorf("%w: want 64 or 128 hex digits, found %d in %.140q", ErrDigest, len(s), s)
	}
	return ParseHex(SHA256, s)
}

// ParseDigest parses the full form of a digest, "fsverity-sha256-12:<hex>".
func ParseDigest(s string) (Digest, error) {
	name, sum, ok := strings.Cut(s, ":")
	if !ok || !strings.HasPrefix(name, "fsverity-") {
		return Digest{}, fmt.Errorf("%w: want ALGORITHM:HEX, as in fsverity-sha256-12:0f0e…, found %.180q", ErrDigest, s)
	}
	alg, err := ParseAlgorithm(name)
	if err != nil {
		return Digest{}, err
	}
	return ParseHex(alg, sum)
}

func notLowerHex(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }

// Algorithm returns the algorithm of d, 0 for the zero Digest.
func (d Digest) Algorithm() Algorithm { return d.alg }

// IsZero reports whether d is the zero Digest, which no file has.
func (d Digest) IsZero() bool { return d.alg == 0 }

// Bytes returns the raw digest, 32 or 64 bytes; nil for the zero Digest.
func (d Digest) Bytes() []byte { return d.AppendBytes(nil) }

// AppendBytes appends the raw digest to b and returns the result.
func (d Digest) AppendBytes(b []byte) []byte { return append(b, d.sum[:d.alg.Size()]...) }

// Hex returns the digest in lower-case hexadecimal, as in names of images and seals.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:d.alg.Size()]) }

// String returns the full form, "fsverity-sha256-12:<hex>", or "none" for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return "none"
	}
	return d.alg.String() + ":" + d.Hex()
}

// ObjectPath returns the path in an object store of the object with this digest: the
// first byte is the directory and the rest is the name, "0f/0e…". It is empty for the zero
// Digest.
func (d Digest) ObjectPath() string {
	var b [2*64 + 1]byte
	return string(d.AppendObjectPath(b[:0]))
}

// AppendObjectPath appends ObjectPath to b and returns the result.
func (d Digest) AppendObjectPath(b []byte) []byte {
	if d.IsZero() {
		return b
	}
	n := d.alg.Size()
	b = append(hex.AppendEncode(b, d.sum[:1]), '/')
	return hex.AppendEncode(b, d.sum[1:n])
}

// ParseObjectPath parses what ObjectPath returns.
func ParseObjectPath(s string) (Digest, error) {
	if len(s) < 3 || s[2] != '/' {
		return Digest{}, fmt.Errorf("%w: want an object path, as in 0f/0e…, found %.140q", ErrDigest, s)
	}
	return ParseAnyHex(s[:2] + s[3:])
}

// Compare returns a negative number if d sorts before e, a positive one if after, and 0
// if they are equal. Digests are sorted by algorithm and then by value.
func (d Digest) Compare(e Digest) int {
	if d.alg != e.alg {
		return int(d.alg) - int(e.alg)
	}
	return bytes.Compare(d.sum[:], e.sum[:])
}

// MarshalText implements encoding.TextMarshaler with the full form.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; empty text is the zero Digest.
func (d *Digest) UnmarshalText(text []byte) error {
	*d = Digest{}
	if len(text) == 0 {
		return nil
	}
	v, err := ParseDigest(string(text))
	if err == nil {
		*d = v
	}
	return err
}
