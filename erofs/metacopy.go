package erofs

import (
	"fmt"

	"github.com/composefs-go/composefs/verity"
)

// metacopyHeaderSize is the part of a metacopy value before the digest: version 0,
// length of the whole, flags 0, algorithm.
const metacopyHeaderSize = 4

// appendMetacopy appends the value of trusted.overlay.metacopy; without a digest
// that is empty.
func appendMetacopy(b []byte, d verity.Digest) []byte {
	if d.IsZero() {
		return b
	}
	b = append(b, 0, byte(metacopyHeaderSize+d.Algorithm().Size()), 0, byte(d.Algorithm()))
	return d.AppendBytes(b)
}

// parseMetacopy is the inverse of appendMetacopy.
func parseMetacopy(b []byte) (verity.Digest, error) {
	if len(b) == 0 {
		return verity.Digest{}, nil
	}
	if len(b) < metacopyHeaderSize || b[0] != 0 || int(b[1]) != len(b) || b[2] != 0 {
		return verity.Digest{}, fmt.Errorf("malformed %s of %d bytes", nameMetacopy, len(b))
	}
	return verity.NewDigest(verity.Algorithm(b[3]), b[metacopyHeaderSize:])
}
