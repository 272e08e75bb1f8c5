//go:build !amd64 || purego

package verity

import "crypto/sha256"

// hasSum256x2 says whether blocks are hashed in pairs. Only tests change it.
var hasSum256x2 bool

// sum256x2 writes the SHA-256 hashes of a and b to dst. It hashes one after the other and
// is no faster.
func sum256x2(dst *[64]byte, a, b *[BlockSize]byte) {
	for i, block := range []*[BlockSize]byte{a, b} {
		s := sha256.Sum256(block[:])
		copy(dst[i*len(s):], s[:])
	}
}
