package verity

import (
	"crypto/sha256"
	"crypto/sha512"
	"io"
)

// A Hasher computes the fs-verity digest of what is written to it. It holds one
// partial block of data and one of each level of the Merkle tree, whatever the
// size of the file: at most 10 blocks.
//
//	Write ─▶ data ─H─▶ levels[0] ─H─▶ levels[1] ─H─▶ …
//	         a block is hashed into the level above as soon as it is full
//
// A Hasher may be used again after Reset, and then allocates nothing.
type Hasher struct {
	alg    Algorithm
	width  int   // bytes of a hash
	size   int64 // bytes written
	data   block
	levels []*block
	emit   func(level int, hashes []byte) // if set, sees every block of the tree
	buf    []byte                         // of ReadFrom
	zeros  *zeroTree                      // of WriteZeros
}

// block is a block that fills up. What lies behind n is scratch.
type block struct {
	b [BlockSize]byte
	n int
}

// NewHasher returns a Hasher for an empty file. With an algorithm that is not
// Valid, its Sum is the zero Digest.
func NewHasher(alg Algorithm) *Hasher { return &Hasher{alg: alg, width: alg.Size()} }

// Reset makes h as new; it keeps its buffers.
func (h *Hasher) Reset() {
	h.size, h.data.n = 0, 0
	for _, l := range h.levels {
		l.n = 0
	}
}

// Size returns how many bytes have been written.
func (h *Hasher) Size() int64 { return h.size }

// Write adds p to the file. It never returns an error.
func (h *Hasher) Write(p []byte) (int, error) {
	length := len(p)
	h.size += int64(length)
	if h.data.n > 0 {
		n := copy(h.data.b[h.data.n:], p)
		h.data.n += n
		p = p[n:]
		if h.data.n < BlockSize {
			return length, nil
		}
		h.data.n = 0
		h.push(h.data.b[:])
	}
	for len(p) >= BlockSize {
		p = p[h.push(p):]
	}
	h.data.n = copy(h.data.b[:], p)
	return length, nil
}

// SumBuffer resets h and returns the digest of a file with the first n bytes of buf.
// What is behind them in the last block is scratch.
func (h *Hasher) SumBuffer(buf []byte, n int) Digest {
	h.Reset()
	h.writeRest(buf, n)
	return h.Sum()
}

// writeRest adds the first n bytes of buf, which are whole blocks or the end of the
// file. If there is room, the last block is filled up with zeros in place: that
// hashes it together with the one before.
func (h *Hasher) writeRest(buf []byte, n int) {
	end := int(roundUp(int64(n)))
	if end > len(buf) || h.data.n > 0 {
		_, _ = h.Write(buf[:n])
		return
	}
	clear(buf[n:end])
	for p := buf[:end]; len(p) > 0; {
		p = p[h.push(p):]
	}
	h.size += int64(n)
}

// readSize is how much is read at a time: large enough to make the system call
// cheap, small enough to be hashed while it is in the processor's cache.
const readSize = 128 << 10

// ReadFrom adds all that r has to the file.
func (h *Hasher) ReadFrom(r io.Reader) (int64, error) {
	if h.buf == nil {
		h.buf = make([]byte, readSize)
	}
	for total := int64(0); ; {
		n, err := r.Read(h.buf)
		total += int64(n)
		_, _ = h.Write(h.buf[:n])
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// push adds whole blocks of data to the file, as many as level 0's block has room
// for. It returns how many bytes they are; with a block of data, not 0.
func (h *Hasher) push(data []byte) int {
	l := h.level(0)
	n := h.alg.hashBlocks(l.b[l.n:], data)
	h.grow(0, n)
	return n * BlockSize
}

// pushHash adds a hash to a level. The levels below must be empty.
func (h *Hasher) pushHash(level int, sum []byte) {
	l := h.level(level)
	copy(l.b[l.n:], sum)
	h.grow(level, 1)
}

// grow counts the n hashes that were just put behind the others of a level. If the
// level's block is full now, it is hashed into the level above, and so on.
func (h *Hasher) grow(level, n int) {
	l := h.level(level)
	for l.n += n * h.width; l.n == BlockSize; l.n += h.width {
		if h.emit != nil {
			h.emit(level, l.b[:])
		}
		level++
		above := h.level(level)
		h.alg.hashBlock(above.b[above.n:], l.b[:])
		l.n = 0
		l = above
	}
}

// level returns a level, which may be the first above those that exist.
func (h *Hasher) level(n int) *block {
	for n >= len(h.levels) {
		h.levels = append(h.levels, new(block))
	}
	return h.levels[n]
}

// top is the number of levels with something in them: those that decide when
// one hash is all that's left.
func (h *Hasher) top() int {
	n := len(h.levels)
	for n > 0 && h.levels[n-1].n == 0 {
		n--
	}
	return n
}

// root writes the Merkle tree's root hash to sum: the partial blocks are padded
// with zeros and hashed upwards. It changes only scratch, so that writing can go on.
func (h *Hasher) root(sum *[64]byte) {
	carry := h.data.n > 0 // sum is the hash of a partial block below
	if carry {
		clear(h.data.b[h.data.n:])
		h.alg.hashBlock(sum[:], h.data.b[:])
	}
	top := h.top()
	for k, l := range h.levels[:top] {
		n := l.n
		if carry {
			n += copy(l.b[n:], sum[:h.width])
		}
		if n == 0 {
			continue
		}
		if k == top-1 && n == h.width { // the only hash of the highest level
			copy(sum[:], l.b[:n])
			return
		}
		clear(l.b[n:])
		if h.emit != nil {
			h.emit(k, l.b[:])
		}
		h.alg.hashBlock(sum[:], l.b[:])
		carry = true
	}
}

// Sum returns the digest of what has been written so far. Writing can go on.
func (h *Hasher) Sum() Digest {
	var root [64]byte
	h.root(&root)
	return FromRoot(h.alg, h.size, root[:h.width])
}

// hashBlock writes the hash of b to dst. The one-shot functions of the standard
// library allocate nothing and are its fastest.
func (a Algorithm) hashBlock(dst, b []byte) {
	switch a {
	case SHA256:
		s := sha256.Sum256(b)
		copy(dst, s[:])
	case SHA512:
		s := sha512.Sum512(b)
		copy(dst, s[:])
	}
}

// hashBlocks writes the hashes of b's whole blocks to dst, one behind the other, as
// many as dst has room for. It returns how many they are.
func (a Algorithm) hashBlocks(dst, b []byte) (n int) {
	if a == SHA256 && hasSum256x2 {
		for ; len(b) >= 2*BlockSize && len(dst) >= 2*sha256.Size; n += 2 {
			sum256x2((*[2 * sha256.Size]byte)(dst), (*[BlockSize]byte)(b), (*[BlockSize]byte)(b[BlockSize:]))
			dst, b = dst[2*sha256.Size:], b[2*BlockSize:]
		}
	}
	for ; len(b) >= BlockSize && len(dst) >= a.Size(); n++ {
		a.hashBlock(dst, b[:BlockSize])
		dst, b = dst[a.Size():], b[BlockSize:]
	}
	return n
}
