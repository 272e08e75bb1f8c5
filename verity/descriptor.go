package verity

import "encoding/binary"

// DescriptorSize is the size in bytes of a descriptor without a signature.
const DescriptorSize = 256

// Descriptor returns a struct fsverity_descriptor, whose hash is the digest of the file:
//
//	 0   1   2   3   4         8          16            80          112      256
//	+---+---+---+---+---------+----------+-------------+-----------+----------+
//	| 1 |alg|12 | 0 |    0    |   size   |  root hash  | salt: 0   | 0        |
//
// size is the size of the file in bytes. root is the root hash of its Merkle tree, which
// has at most 64 bytes and for an empty file is empty or all zeros.
func Descriptor(alg Algorithm, size int64, root []byte) [DescriptorSize]byte {
	var d [DescriptorSize]byte
	d[0] = 1
	d[1] = byte(alg)
	d[2] = blockSizeLog
	binary.LittleEndian.PutUint64(d[8:], uint64(size))
	copy(d[16:80], root)
	return d
}

// blockSizeLog is log2 of BlockSize.
const blockSizeLog = 12

// FromRoot returns the digest of a file from its size in bytes and the root hash
// of its Merkle tree. It is the zero Digest if the algorithm is not Valid.
func FromRoot(alg Algorithm, size int64, root []byte) Digest {
	if !alg.Valid() {
		return Digest{}
	}
	desc := Descriptor(alg, size, root)
	d := Digest{alg: alg}
	alg.hashBlock(d.sum[:], desc[:])
	return d
}
