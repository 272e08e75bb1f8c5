package verity

import (
	"fmt"
	"io"
	"slices"
)

// MerkleTree writes the Merkle tree of the first size bytes of r to w, as file
// systems store it: the level of the root comes first and the one with the hashes of
// the data last, each in whole blocks of 4096 bytes. It returns the root hash and the
// number of bytes written. A file of at most one block has no tree: its root hash is the
// hash of the block, or all zeros if the file is empty.
//
// The tree is kept in memory until it is complete, which takes about size/127 bytes with
// SHA-256 and size/63 with SHA-512. If r is a Sparse, its holes are neither read nor
// hashed.
func MerkleTree(alg Algorithm, r io.ReaderAt, size int64, w io.Writer) (root []byte, treeSize int64, err error) {
	if !alg.Valid() {
		return nil, 0, fmt.Errorf("%w: number %d", ErrAlgorithm, alg)
	}
	var levels [][]byte
	h := NewHasher(alg)
	h.emit = func(level int, hashes []byte) {
		if level == len(levels) {
			levels = append(levels, nil)
		}
		levels[level] = append(levels[level], hashes...)
	}
	add := h.addRest
	if s, ok := r.(Sparse); ok {
		add = func(_ io.ReaderAt, size int64, _ []byte) error { return h.addSparse(s, size, make([]byte, readSize)) }
	}
	if err := add(r, size, nil); err != nil {
		return nil, 0, err
	}
	var sum [64]byte
	h.root(&sum)
	for _, level := range slices.Backward(levels) {
		n, err := w.Write(level)
		treeSize += int64(n)
		if err != nil {
			return nil, treeSize, err
		}
	}
	return sum[:alg.Size()], treeSize, nil
}
