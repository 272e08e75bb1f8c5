package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Causes of errors about images.
var (
	ErrCorrupt     = errors.New("corrupt image")
	ErrUnsupported = errors.New("unsupported image")
)

// A Format is a version of the image format, the header's composefs_version.
type Format uint32

// The formats. libcomposefs writes V1 if there are whiteouts, otherwise V0; composefs-rs
// writes V2.
const (
	V0 Format = iota
	V1
	V2
)

// String returns the format's name in seals and file names, as in "erofs-v1".
func (f Format) String() string { return fmt.Sprintf("erofs-v%d", uint32(f)) }

// ParseFormat is the inverse of String. The error is an ErrUnsupported.
func ParseFormat(s string) (Format, error) {
	for f := V0; f.Valid(); f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%w: want format %v, %v or %v, found %q", ErrUnsupported, V0, V1, V2, s)
}

// Valid reports whether f is a format of this package.
func (f Format) Valid() bool { return f <= V2 }

// A Header has the information in the first bytes of an image.
type Header struct {
	Version Format
	HasACL  bool // some file has an ACL; never set in V2 images, see MayHaveACL
}

// MayHaveACL reports whether an image with this header must be mounted with ACLs. In V0 and
// V1 the header has a flag for this; in V2 the flag is always clear. Without ACLs the kernel
// takes the mask of an ACL for the permissions of the file's group.
func (h Header) MayHaveACL() bool { return h.HasACL || h.Version > V1 }

const (
	headerMagic   = 0xd078629a
	headerVersion = 1
	headerSize    = 32
	flagHasACL    = 1
)

// header is struct lcfs_erofs_header_s.
//
//	0       4         8       12                  16            32
//	+-------+---------+-------+-------------------+-------------+
//	| magic | version | flags | composefs_version | unused      |
//	+-------+---------+-------+-------------------+-------------+
type header struct {
	Magic, Version, Flags, ComposefsVersion uint32
	Unused                                  [16]byte
}

// ReadHeader reads the header of an image: the first 32 bytes, and nothing else.
func ReadHeader(r io.ReaderAt) (Header, error) {
	var b [headerSize]byte
	fault := func(off int64, err error, what string, args ...any) (Header, error) {
		return Header{}, &FormatError{-1, off, fmt.Sprintf(what, args...), err}
	}
	if n, err := r.ReadAt(b[:], 0); n < len(b) {
		if err == io.EOF {
			return fault(int64(n), ErrCorrupt, "want a header of %d bytes, found %d", headerSize, n)
		}
		return Header{}, fmt.Errorf("read image header: %w", err)
	}
	magic, version := binary.LittleEndian.Uint32(b[0:]), binary.LittleEndian.Uint32(b[4:])
	flags, format := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	switch {
	case magic != headerMagic:
		return fault(0, ErrCorrupt, "not a composefs image: want magic %#x, found %#x", uint32(headerMagic), magic)
	case version != headerVersion:
		return fault(4, ErrUnsupported, "want header version %d, found %d", headerVersion, version)
	case format > uint32(V2):
		return fault(12, ErrUnsupported, "want composefs version 0 to %d, found %d", V2, format)
	}
	return Header{Version: Format(format), HasACL: flags&flagHasACL != 0}, nil
}

// A FormatError says where an image is corrupt or unsupported. It wraps ErrCorrupt or
// ErrUnsupported.
type FormatError struct {
	Inode  int64 // number of the inode, -1 if the error isn't about an inode
	Offset int64 // in the image, in bytes
	What   string
	Err    error
}

func (e *FormatError) Error() string {
	if e.Inode < 0 {
		return fmt.Sprintf("at %#x: %s: %v", e.Offset, e.What, e.Err)
	}
	return fmt.Sprintf("inode %d at %#x: %s: %v", e.Inode, e.Offset, e.What, e.Err)
}

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }
