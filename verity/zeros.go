package verity

// zeroLevels is how many levels a Merkle tree has at most: a file of 2^63 bytes has
// 2^51 blocks, and a block holds 2^6 hashes of SHA-512.
const zeroLevels = 9

// A zeroTree has the hash of a block of zeros, that of a block full of such hashes, and
// so on: element k is what each hash of level k is where the file has zeros alone.
type zeroTree [zeroLevels][64]byte

// zeroTree makes the tree when it is first needed. A Hasher keeps it.
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

// WriteZeros adds n zeros to the file. However many they are, that takes the time of
// hashing a few blocks: the hashes of blocks of zeros are known, and so are those of
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

// pushZeros adds hashes to a level, as many as that many blocks of zeros have there. The
// levels below must be empty. Once a block begins, as many as fill whole ones go into the
// level above in one step.
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

// emitZeros shows whole blocks of a level to who wants the tree.
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
