package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

const (
	// imageMax is the largest image that can be opened, in bytes. With it the
	// book-keeping of a read stays below 100 MiB even if the file is one large hole.
	imageMax = 16 << 30
	// pieceSize is how much is read at a time; a multiple of the block size.
	pieceSize = 256 << 10
	// partMax is the most bytes that any one thing in an image has: xattrs.
	partMax = pieceSize + xattrHeaderSize
)

// An Image is an open image. It reads what it is asked for and keeps it, so that
// the result of many calls may share memory with it: the reader must not change.
// Methods may be called at the same time.
type Image struct {
	header Header
	super  superblock
	r      io.ReaderAt
	size   uint64 // as the superblock says, which is not more than there is
	pieces []atomic.Pointer[[]byte]
}

// Open reads the header and superblock of an image of size bytes. It accepts
// what composefs tools write, and nothing else of EROFS.
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

// Header returns what the image's header says.
func (m *Image) Header() Header { return m.header }

// Inodes returns the number of inodes that the superblock claims.
func (m *Image) Inodes() uint64 { return m.super.Inodes }

// Size returns the size of the image in bytes, as the superblock has it.
func (m *Image) Size() int64 { return int64(m.size) }

// at returns n bytes of the image from off on. Everything that looks into the
// image goes through here. what names them in errors. Don't change the bytes.
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
