package erofs

// claims notes which slots of an image belong to something already. Every inode
// and every block of data has its own; an image where two things share a slot
// could make its reader do much more work than the image is long.
type claims []uint64

func newClaims(size uint64) claims { return make(claims, (size/slotSize+63)/64) }

// claim takes the bytes off to end, and reports whether all were free and there.
func (c claims) claim(off, end uint64) bool {
	first, last := off/slotSize, (end+slotSize-1)/slotSize
	if end < off || end > uint64(len(c))*64*slotSize {
		return false
	}
	for s := first; s < last; s++ {
		if c[s/64]&(1<<(s%64)) != 0 {
			return false
		}
		c[s/64] |= 1 << (s % 64)
	}
	return true
}
