//go:build !amd64 || purego

package verity

import "crypto/sha256"

// hasSum256x2 says whether blocks are hashed in pairs. Only tests change it.
var hasSum256x2 bool

// sum256x2 writes the SHA-256 hashes of two blocks to dst, that of a first. It
// is no faster than one block after the other, which is what it does.
func sum256x2(dst *[64]byte, a, b *[BlockSize]byte) {
	for i, block := range []*[BlockSize]byte{a, b} {
		s := sha256.Sum256(block[:])
		copy(dst[i*len(s):], s[:])
	}
}
