package verity

// zeroLevels is how many levels a Merkle tree has at most: a file of 2^63 bytes has
// 2^51 blocks, and a block holds 2^6 hashes of SHA-512.
const zeroLevels = 9

// A zeroTree has the hash of a block of zeros, the hash of a block full of that hash, and
// so on: element k is the hash in level k wherever the file has only zeros.
type zeroTree [zeroLevels][64]byte

// zeroTree returns the tree, which is made when it is first needed.
func (h *Hasher) zeroTree() *zeroTree {
	if h.zeros != nil {
		return h.zeros
	}
	h.zeros = new(zeroTree)
	var b [BlockSize]byte
	for k := range h.zeros {
		h.alg.hashBlock(h.zeros[k][:], b[:])
		h.alg.fill(b[:], h.zeros, k)
	}
	return h.zeros
}

// fill fills b, which is part of a block of a level, with the hashes of that level for
// zeros.
func (a Algorithm) fill(b []byte, z *zeroTree, level int) {
	for n := 0; n < len(b); n += a.Size() {
		copy(b[n:], z[level][:a.Size()])
	}
}

// WriteZeros appends n zeros to the file. Whatever n is, this takes no longer than hashing a
// few blocks, since the hashes of blocks of zeros are known, and so are the hashes of
// blocks full of these. It returns n and never an error.
func (h *Hasher) WriteZeros(n int64) (int64, error) {
	if n <= 0 || !h.alg.Valid() {
		return n, nil
	}
	left := n
	h.size += n
	if h.data.n > 0 {
		fill := min(left, int64(BlockSize-h.data.n))
		clear(h.data.b[h.data.n:][:fill])
		h.data.n += int(fill)
		if left -= fill; h.data.n < BlockSize {
			return n, nil
		}
		h.data.n = 0
		h.push(h.data.b[:])
	}
	h.pushZeros(0, left/BlockSize, h.zeroTree())
	h.data.n = int(left % BlockSize)
	clear(h.data.b[:h.data.n])
	return n, nil
}

// pushZeros adds so many hashes of zeros to a level. The levels below must be empty. Whole
// blocks of them are added to the level above in one step.
func (h *Hasher) pushZeros(level int, hashes int64, z *zeroTree) {
	for ; hashes > 0 && h.level(level).n > 0; hashes-- {
		h.pushHash(level, z[level][:h.width])
	}
	each := int64(BlockSize / h.width)
	if whole := hashes / each; whole > 0 {
		h.emitZeros(level, whole, z)
		h.pushZeros(level+1, whole, z)
	}
	for range hashes % each {
		h.pushHash(level, z[level][:h.width])
	}
}

// emitZeros passes whole blocks of a level to emit.
func (h *Hasher) emitZeros(level int, blocks int64, z *zeroTree) {
	if h.emit == nil {
		return
	}
	var b [BlockSize]byte
	h.alg.fill(b[:], z, level)
	for range blocks {
		h.emit(level, b[:])
	}
}
