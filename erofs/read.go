package erofs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/composefs-go/composefs/erofs/tree"
)

const (
	// imageMax is the largest image that can be opened, in bytes. It keeps the bookkeeping
	// of a read below 100 MiB even if the file is one large hole.
	imageMax = 16 << 30
	// pieceSize is how much is read at a time; a multiple of the block size.
	pieceSize = 256 << 10
	// partMax is the size in bytes of the largest single part of an image: an inode's xattrs.
	partMax = pieceSize + xattrHeaderSize
)

// An Image is an open image. It reads parts of the image on demand and keeps them, and
// results share memory with it: the bytes of the image must not change. Methods may be
// called concurrently.
type Image struct {
	header Header
	super  superblock
	r      io.ReaderAt
	size   uint64 // from the superblock; the file is at least as long
	pieces []atomic.Pointer[[]byte]
}

// Open reads the header and superblock of an image in a file of size bytes, which may go on
// behind the image. It accepts only the part of EROFS that composefs tools write.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	var b [superSize]byte
	if _, err := r.ReadAt(b[:], superOffset); err != nil {
		return nil, fmt.Errorf("open image: %w", readFault(superOffset, "superblock", err))
	}
	m := &Image{header: h, r: r}
	if _, err := binary.Decode(b[:], binary.LittleEndian, &m.super); err != nil {
		return nil, fmt.Errorf("open image: decode superblock: %w", err)
	}
	if what, err := m.super.check(size); err != nil {
		return nil, fmt.Errorf("open image: %w", &FormatError{-1, superOffset, what, err})
	}
	m.size = uint64(m.super.Blocks) * blockSize
	m.pieces = make([]atomic.Pointer[[]byte], (m.size+pieceSize-1)/pieceSize)
	return m, nil
}

// check says what of the superblock is wrong for a file of size bytes.
func (s *superblock) check(size int64) (what string, err error) {
	switch {
	case s.Magic != superMagic:
		return fmt.Sprintf("want magic %#x, found %#x", uint32(superMagic), s.Magic), ErrCorrupt
	case s.BlockBits != blockBits || s.ExtSlots != 0:
		return "block size is not 4096", ErrUnsupported
	case s.FeatureCompat&^(compatChecksum|compatMtime|compatXattrFilter) != 0 || s.FeatureIncompat&^incompatChunked != 0:
		return fmt.Sprintf("features %#x and %#x", s.FeatureCompat, s.FeatureIncompat), ErrUnsupported
	case s.MetaBlock != 0:
		return fmt.Sprintf("inodes from block %d on", s.MetaBlock), ErrUnsupported
	case s.Rest != [len(s.Rest)]byte{}:
		return "fields that composefs leaves zero", ErrUnsupported
	case int64(s.Blocks)*blockSize > imageMax:
		return fmt.Sprintf("want at most %d bytes, found %d blocks", int64(imageMax), s.Blocks), ErrUnsupported
	case s.Blocks == 0 || int64(s.Blocks)*blockSize > size:
		return fmt.Sprintf("want %d blocks of %d bytes, found a file of %d bytes", s.Blocks, blockSize, size), ErrCorrupt
	case s.XattrBlock >= s.Blocks:
		return fmt.Sprintf("want shared xattrs within %d blocks, found them in block %d", s.Blocks, s.XattrBlock), ErrCorrupt
	}
	return "", nil
}

func readFault(off int64, what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FormatError{-1, off, what + ": the file ends before", ErrCorrupt}
	}
	return fmt.Errorf("read %s at %#x: %w", what, off, err)
}

// Header returns the image's header.
func (m *Image) Header() Header { return m.header }

// Inodes returns the number of inodes that the superblock claims.
func (m *Image) Inodes() uint64 { return m.super.Inodes }

// Size returns the size of the image in bytes according to the superblock.
func (m *Image) Size() int64 { return int64(m.size) }

// at returns n bytes of the image, starting at off. All reads of the image go through here.
// what names the bytes in errors. They must not be changed.
func (m *Image) at(off, n uint64, what string) ([]byte, error) {
	end := off + n
	if n > partMax || end < off || end > m.size {
		return nil, &FormatError{-1, int64(off), what, ErrCorrupt}
	}
	if n == 0 {
		return nil, nil
	}
	first, start := off/pieceSize, off%pieceSize
	p, err := m.piece(first)
	if err != nil {
		return nil, err
	}
	if start+n <= uint64(len(p)) {
		return p[start : start+n : start+n], nil
	}
	b := append(make([]byte, 0, n), p[start:]...)
	for next := first + 1; uint64(len(b)) < n; next++ {
		if p, err = m.piece(next); err != nil {
			return nil, err
		}
		b = append(b, p[:min(uint64(len(p)), n-uint64(len(b)))]...)
	}
	return b, nil
}

// piece returns the i-th piece of the image.
func (m *Image) piece(i uint64) ([]byte, error) {
	if p := m.pieces[i].Load(); p != nil {
		return *p, nil
	}
	off := i * pieceSize
	b := make([]byte, min(pieceSize, m.size-off))
	if n, err := m.r.ReadAt(b, int64(off)); n < len(b) {
		return nil, readFault(int64(off)+int64(n), "image", err)
	}
	m.pieces[i].Store(&b)
	return b, nil
}

// kinds maps the file type of a mode, its bits 12 to 15, to a kind.
var kinds = [16]tree.Kind{
	0o01: tree.FIFO, 0o02: tree.CharDevice, 0o04: tree.Directory, 0o06: tree.BlockDevice,
	0o10: tree.Regular, 0o12: tree.Symlink, 0o14: tree.Socket,
}

// A record is an inode as the image has it, of either form.
type record struct {
	image    *Image
	nid      uint64
	kind     tree.Kind
	perm     uint16
	layout   uint8
	extended bool
	nlink    uint32
	uid, gid uint32
	u, ino   uint32
	size     uint64
	mtime    tree.Time
	xattrs   uint64 // where the xattr area starts
	data     uint64 // where the tail starts, behind the xattrs
}

func (i *record) offset() uint64 { return i.nid * slotSize }

// fault returns an error about the inode itself.
func (i *record) fault(what string, err error) error { return i.faultAt(i.offset(), what, err) }

// faultAt returns an error about a part of the inode that is elsewhere.
func (i *record) faultAt(off uint64, what string, err error) error {
	return &FormatError{int64(i.nid), int64(off), what, err}
}

// at is Image.at with errors that name the inode.
func (i *record) at(off, n uint64, what string) ([]byte, error) {
	b, err := i.image.at(off, n, what)
	if err != nil {
		return nil, i.own(err)
	}
	return b, nil
}

// own turns an error about the image into one about the inode.
func (i *record) own(err error) error {
	var e *FormatError
	if errors.As(err, &e) {
		return &FormatError{int64(i.nid), e.Offset, e.What, e.Err}
	}
	return err
}

// inode reads the inode of the given number.
func (m *Image) inode(nid uint64) (*record, error) {
	i := &record{image: m, nid: nid}
	if nid > m.size/slotSize {
		return nil, i.fault("number beyond the image", ErrCorrupt)
	}
	b, err := i.at(i.offset(), compactSize, "inode")
	if err != nil {
		return nil, err
	}
	format := binary.LittleEndian.Uint16(b)
	if i.extended = format&1 != 0; i.extended {
		if b, err = i.at(i.offset(), extendedSize, "inode"); err != nil {
			return nil, err
		}
		i.decodeExtended(b)
	} else {
		i.decodeCompact(b)
	}
	mode := binary.LittleEndian.Uint16(b[4:])
	i.kind, i.perm = kinds[mode>>12], mode&0o7777
	if i.kind == 0 {
		return nil, i.fault(fmt.Sprintf("mode %#o has no file type", mode), ErrCorrupt)
	}
	i.xattrs = i.offset() + uint64(len(b))
	i.data = i.xattrs
	if count := uint64(binary.LittleEndian.Uint16(b[2:])); count > 0 {
		i.data += xattrHeaderSize + 4*(count-1)
	}
	if format>>1 != layoutPlain && format>>1 != layoutInline && (format>>1 != layoutChunk || i.kind != tree.Regular) {
		return nil, i.fault(fmt.Sprintf("data layout %d", format>>1), ErrUnsupported)
	}
	i.layout = uint8(format >> 1)
	return i, nil
}

func (i *record) decodeCompact(b []byte) {
	le := binary.LittleEndian
	i.nlink, i.size = uint32(le.Uint16(b[6:])), uint64(le.Uint32(b[8:]))
	i.u, i.ino = le.Uint32(b[16:]), le.Uint32(b[20:])
	i.uid, i.gid = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
	i.mtime = i.image.buildTime()
}

func (i *record) decodeExtended(b []byte) {
	le := binary.LittleEndian
	i.size, i.u, i.ino = le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:])
	i.uid, i.gid = le.Uint32(b[24:]), le.Uint32(b[28:])
	i.mtime = tree.Time{Sec: int64(le.Uint64(b[32:])), Nsec: le.Uint32(b[40:])}
	i.nlink = le.Uint32(b[44:])
}

// buildTime returns the time of inodes that have none of their own.
func (m *Image) buildTime() tree.Time {
	return tree.Time{Sec: m.super.BuildTime, Nsec: m.super.BuildTimeNsec}
}

// blocks returns how many data blocks the inode has, and how many bytes of data follow the
// inode itself. The last block of plain data need not be full.
func (i *record) blocks() (blocks, tail uint64) {
	switch {
	case i.layout == layoutChunk || i.size == 0 || !i.hasData():
		return 0, 0
	case i.layout == layoutInline:
		return (i.size - 1) / blockSize, (i.size-1)%blockSize + 1
	}
	return (i.size-1)/blockSize + 1, 0
}

// hasData reports whether the kind of file has data in an image at all.
func (i *record) hasData() bool {
	return i.kind == tree.Directory || i.kind == tree.Regular || i.kind == tree.Symlink
}

// part returns the n-th block of data, or the tail behind the last block.
func (i *record) part(n uint64, what string) ([]byte, error) {
	blocks, tail := i.blocks()
	if n < blocks {
		tail = min(i.size-n*blockSize, blockSize)
	}
	return i.at(i.partOffset(n), tail, what)
}

// partOffset returns where the n-th part of the data is.
func (i *record) partOffset(n uint64) uint64 {
	if blocks, _ := i.blocks(); n == blocks && i.layout == layoutInline {
		return i.data
	}
	return (uint64(i.u) + n) * blockSize
}

// content returns all data of an inode, which may be at most most bytes.
func (i *record) content(most uint64, what string) ([]byte, error) {
	if i.size > most {
		return nil, i.fault(fmt.Sprintf("%s: want at most %d bytes, found %d", what, most, i.size), ErrUnsupported)
	}
	if i.size == 0 {
		return nil, nil
	}
	first, err := i.part(0, what)
	if err != nil || uint64(len(first)) == i.size {
		return first, err
	}
	all := append(make([]byte, 0, i.size), first...)
	for n := uint64(1); uint64(len(all)) < i.size; n++ {
		p, err := i.part(n, what)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// A dirEntry is one entry of a directory in an image. The name is valid as long as the
// image.
type dirEntry struct {
	name []byte
	nid  uint64
	kind tree.Kind
	off  uint64 // in the image
}

// dirents calls each for every entry of the directory except the dots. It refuses invalid
// names, and names out of order, since the kernel's search relies on the order.
func (i *record) dirents(parent uint64, each func(dirEntry) error) error {
	blocks, tail := i.blocks()
	if tail > 0 {
		blocks++
	}
	var last []byte
	for n := range blocks {
		b, err := i.part(n, "directory block")
		if err != nil {
			return err
		}
		if last, err = i.dirBlock(b, i.partOffset(n), last, parent, each); err != nil {
			return err
		}
	}
	return nil
}

// dirBlock reads one block, which is at off in the image; last is the name before it, and
// the result is the last name in the block.
func (i *record) dirBlock(b []byte, off uint64, last []byte, parent uint64, each func(dirEntry) error) ([]byte, error) {
	if len(b) < direntSize {
		return nil, i.faultAt(off, "directory block is too short", ErrCorrupt)
	}
	start := int(binary.LittleEndian.Uint16(b[8:]))
	if start == 0 || start%direntSize != 0 || start > len(b) {
		return nil, i.faultAt(off, fmt.Sprintf("directory block: names can't start at %d", start), ErrCorrupt)
	}
	for d := 0; d < start; d += direntSize {
		at := off + uint64(d)
		from, to := int(binary.LittleEndian.Uint16(b[d+8:])), len(b)
		if d+direntSize < start {
			to = int(binary.LittleEndian.Uint16(b[d+direntSize+8:]))
		}
		if from < start || from > to || to > len(b) {
			return nil, i.faultAt(at, "directory entry: name outside of the block", ErrCorrupt)
		}
		name := b[from:to]
		if to == len(b) {
			name, _, _ = bytes.Cut(name, []byte{0})
		}
		if bytes.Compare(last, name) >= 0 {
			return nil, i.faultAt(at, fmt.Sprintf("directory entry %.255q: not in order", name), ErrCorrupt)
		}
		last = name
		e := dirEntry{name, binary.LittleEndian.Uint64(b[d:]), tree.Kind(b[d+10]), at}
		if err := i.dirEntry(e, parent, each); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// dirEntry checks an entry and passes it on unless it is a dot.
func (i *record) dirEntry(e dirEntry, parent uint64, each func(dirEntry) error) error {
	want := parent
	switch string(e.name) {
	case ".":
		want = i.nid
	case "..":
	default:
		return each(e)
	}
	if e.nid != want {
		return i.faultAt(e.off, fmt.Sprintf("directory entry %q: want inode %d, found %d", e.name, want, e.nid), ErrCorrupt)
	}
	return nil
}

// An xattrReader reads the xattrs of an image's inodes. Shared ones are read once.
type xattrReader struct {
	arena  *tree.Arena // owns the names
	shared map[uint32]tree.Xattr
	budget uint64 // bytes that shared xattrs may still have: together they can't exceed the image
	name   []byte
	list   []tree.Xattr
}

func newXattrReader(m *Image, arena *tree.Arena) *xattrReader {
	return &xattrReader{arena: arena, shared: make(map[uint32]tree.Xattr), budget: m.size}
}

// read returns the xattrs of an inode, with the names that they have in the image, in
// ascending order. They are valid until the next call. If several have the same name, the
// last one counts, as in libcomposefs.
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

// sharedEntry reads the entry of the shared table that is at the place id.
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
