package verity

import (
	"crypto/sha256"
	"crypto/sha512"
	"io"
)

// A Hasher computes the fs-verity digest of what is written to it. It holds one
// partial block of data and one of each level of the Merkle tree, which are at most 10
// blocks whatever the size of the file.
//
//	Write ─▶ data ─H─▶ levels[0] ─H─▶ levels[1] ─H─▶ …
//	         a block is hashed into the level above as soon as it is full
//
// After Reset a Hasher can be used for another file, without allocating. It is not safe
// for concurrent use.
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

// A block is filled up to n; the bytes after that have no meaning.
type block struct {
	b [BlockSize]byte
	n int
}

// NewHasher returns a Hasher to which nothing has been written. If alg isn't Valid, Sum
// returns the zero Digest.
func NewHasher(alg Algorithm) *Hasher { return &Hasher{alg: alg, width: alg.Size()} }

// Reset forgets what was written to h. It keeps the buffers.
func (h *Hasher) Reset() {
	h.size, h.data.n = 0, 0
	for _, l := range h.levels {
		l.n = 0
	}
}

// Size returns the number of bytes written so far.
func (h *Hasher) Size() int64 { return h.size }

// Write appends p to the file. It never returns an error.
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

// SumBuffer resets h and returns the digest of a file whose content is buf[:n]. The rest of
// the last block of buf is overwritten.
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

// readSize is how many bytes are read at a time: enough to make the system call cheap,
// and few enough to be hashed while they are in the processor's cache.
const readSize = 128 << 10

// ReadFrom appends everything that r has to the file, and returns the number of bytes.
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

// push adds whole blocks of data to the file, as many as fit into the block of level 0. It
// returns the number of their bytes, which isn't 0 if data has a block.
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

// grow counts the n hashes that were just appended to a level. If its block is full now,
// it is hashed into the level above, and so on.
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

// top returns the number of levels up to the highest that has hashes. There the root is
// found once a single hash is left.
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

// Sum returns the digest of what has been written so far. More can be written afterwards.
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

// hashBlocks writes the hashes of b's whole blocks to dst, one after the other, as many as
// fit into dst. It returns their number.
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
