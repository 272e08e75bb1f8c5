package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// An xattrReader reads the xattrs of an image's inodes. Shared ones are read once.
type xattrReader struct {
	arena  *tree.Arena // owns the names
	shared map[uint32]tree.Xattr
	budget uint64 // bytes that shared ones may still have: they can't be more than the image
	name   []byte
	list   []tree.Xattr
}

func newXattrReader(m *Image, arena *tree.Arena) *xattrReader {
	return &xattrReader{arena: arena, shared: make(map[uint32]tree.Xattr), budget: m.size}
}

// read returns the xattrs of an inode under the names that the image has for
// them, in ascending order, good until the next call. Of several with one name
// the last one counts, as in libcomposefs.
func (r *xattrReader) read(i *record) ([]tree.Xattr, error) {
	r.list = r.list[:0]
	area, err := i.at(i.xattrs, i.data-i.xattrs, "extended attributes")
	if err != nil || len(area) == 0 {
		return nil, err
	}
	own := xattrHeaderSize + 4*int(area[4])
	if own > len(area) {
		return nil, i.faultAt(i.xattrs, fmt.Sprintf("%d shared extended attributes in an area of %d bytes", area[4], len(area)), ErrCorrupt)
	}
	for b := area[own:]; len(b) > 0; {
		x, size, err := r.entry(i, b, i.data-uint64(len(b)))
		if err != nil {
			return nil, err
		}
		r.list, b = append(r.list, x), b[min(size, len(b)):]
	}
	for b := area[xattrHeaderSize:own]; len(b) > 0; b = b[4:] {
		x, err := r.sharedEntry(i, binary.LittleEndian.Uint32(b))
		if err != nil {
			return nil, err
		}
		r.list = append(r.list, x)
	}
	return r.sorted(), nil
}

// sorted sorts the list and keeps the last of equal names.
func (r *xattrReader) sorted() []tree.Xattr {
	byName := func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(r.list, byName) {
		slices.SortStableFunc(r.list, byName)
	}
	kept := r.list[:0]
	for k, x := range r.list {
		if k+1 == len(r.list) || r.list[k+1].Name != x.Name {
			kept = append(kept, x)
		}
	}
	return kept
}

// entry reads the entry at the start of b, which is at off in the image, and returns
// its size with padding.
func (r *xattrReader) entry(i *record, b []byte, off uint64) (x tree.Xattr, size int, err error) {
	if len(b) < xattrEntrySize {
		return x, 0, i.faultAt(off, "extended attribute: entry is cut off", ErrCorrupt)
	}
	nameEnd := xattrEntrySize + int(b[0])
	end := nameEnd + int(binary.LittleEndian.Uint16(b[2:]))
	if end > len(b) {
		return x, 0, i.faultAt(off, "extended attribute: entry is cut off", ErrCorrupt)
	}
	index := b[1]
	if int(index) >= len(xattrPrefixes) {
		return x, 0, i.faultAt(off, fmt.Sprintf("extended attribute: name index %d", index), ErrUnsupported)
	}
	r.name = append(append(r.name[:0], xattrPrefixes[index]...), b[xattrEntrySize:nameEnd]...)
	if len(r.name) == 0 || bytes.IndexByte(r.name, 0) >= 0 {
		return x, 0, i.faultAt(off, fmt.Sprintf("extended attribute: name %q", r.name), ErrCorrupt)
	}
	return tree.Xattr{Name: r.arena.Name(r.name), Value: b[nameEnd:end:end]}, roundUp(end, 4), nil
}

// sharedEntry reads an entry of the shared table; the id is its place there.
func (r *xattrReader) sharedEntry(i *record, id uint32) (tree.Xattr, error) {
	if x, ok := r.shared[id]; ok {
		return x, nil
	}
	const what = "shared extended attribute"
	off := uint64(i.image.super.XattrBlock)*blockSize + 4*uint64(id)
	b, err := i.at(off, xattrEntrySize, what)
	if err != nil {
		return tree.Xattr{}, err
	}
	size := xattrEntrySize + uint64(b[0]) + uint64(binary.LittleEndian.Uint16(b[2:]))
	if size > r.budget {
		return tree.Xattr{}, i.faultAt(off, what+": together they are larger than the image", ErrCorrupt)
	}
	r.budget -= size
	if b, err = i.at(off, size, what); err != nil {
		return tree.Xattr{}, err
	}
	x, _, err := r.entry(i, b, off)
	if err == nil {
		r.shared[id] = x
	}
	return x, err
}
