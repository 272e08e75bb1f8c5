package initrd

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// An algorithm is a compression that kernels can unpack. Another archive may follow
// immediately, so each algorithm finds the end of the compressed bytes.
type algorithm struct {
	name  string
	magic string
	open  func(image []byte) (*packedArchive, error) // nil if it isn't supported here
}

// A packedArchive is a compressed one. The result of size is valid after r has been read to
// its end.
type packedArchive struct {
	r    io.Reader
	size func() int
}

var algorithms = []algorithm{
	{"gzip", "\x1f\x8b", openGzip},
	{"zstd", "\x28\xb5\x2f\xfd", sized(zstdSize, openZstd)},
	{"xz", "\xfd7zXZ\x00", sized(xzSize, func(b []byte) (io.Reader, error) {
		return xz.ReaderConfig{SingleStream: true}.NewReader(bytes.NewReader(b))
	})},
	{"lz4", "\x02\x21\x4c\x18", sized(lz4Size, func(b []byte) (io.Reader, error) { return &lz4Reader{rest: b[4:]}, nil })},
	{"bzip2", "BZh", nil},
	{"lzma", "\x5d\x00", nil},
	{"lzo", "\x89LZO", nil},
}

// decompress opens the compressed archive that the image begins with.
func decompress(image []byte) (*packedArchive, error) {
	for _, a := range algorithms {
		if !bytes.HasPrefix(image, []byte(a.magic)) {
			continue
		}
		if a.open == nil {
			return nil, unreadError("it is compressed by " + a.name + ": want gzip, zstd, xz, lz4 or none")
		}
		p, err := a.open(image)
		if err != nil {
			return nil, fmt.Errorf("decompress by %s: %w", a.name, noEOF(err))
		}
		return p, nil
	}
	return nil, fmt.Errorf("want an archive, plain or compressed by gzip, zstd, xz or lz4, found %.6q", image)
}

// openGzip lets gzip find the end: from an io.ByteReader it reads only the bytes of its
// stream.
func openGzip(image []byte) (*packedArchive, error) {
	b := bytes.NewReader(image)
	r, err := gzip.NewReader(b)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	return &packedArchive{r, func() int { return len(image) - b.Len() }}, nil
}

// sized returns a function that opens the bytes that size finds.
func sized(size func(image []byte) (int, error), open func(image []byte) (io.Reader, error)) func([]byte) (*packedArchive, error) {
	return func(image []byte) (*packedArchive, error) {
		n, err := size(image)
		if err != nil {
			return nil, err
		}
		r, err := open(image[:n])
		return &packedArchive{r, func() int { return n }}, err
	}
}

// zstdSize returns the size of the first frame: header, blocks, checksum.
//
// Format: RFC 8878, section 3.1.1.
func zstdSize(image []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(image); err != nil {
		return 0, err
	}
	at := h.HeaderSize
	for last := false; !last; {
		if at+3 > len(image) {
			return 0, io.ErrUnexpectedEOF
		}
		block := uint32(image[at]) | uint32(image[at+1])<<8 | uint32(image[at+2])<<16
		last = block&1 == 1
		at += 3
		if kind := block >> 1 & 3; kind == 1 { // one byte, repeated
			at++
		} else {
			at += int(block >> 3)
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > len(image) {
		return 0, io.ErrUnexpectedEOF
	}
	return at, nil
}

func openZstd(image []byte) (io.Reader, error) {
	// zstd --ultra uses windows of 128 MiB, which the kernel allows too.
	d, err := zstd.NewReader(bytes.NewReader(image), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// xzSize returns the size of the first stream, which ends with a footer: a checksum
// of what follows, the size of the index, the same flags as at the beginning, "YZ".
//
// Format: The .xz File Format, section 2.1.2.
func xzSize(image []byte) (int, error) {
	const headerSize, footerSize = 12, 12
	for at := headerSize; at+footerSize <= len(image); at += 4 {
		footer := image[at : at+footerSize]
		if string(footer[10:]) == "YZ" && bytes.Equal(footer[8:10], image[6:8]) &&
			crc32.ChecksumIEEE(footer[4:10]) == binary.LittleEndian.Uint32(footer) {
			return at + footerSize, nil
		}
	}
	return 0, errors.New("want the end of the stream, found none")
}

// lz4Block is the largest unpacked size of a block of lz4, in bytes.
const lz4Block = 8 << 20

// lz4Size returns the size of the blocks in the form that lz4 -l makes: a size and
// as many bytes, until there is no such size.
//
// Format: LZ4 Frame Format, "Legacy frame".
func lz4Size(image []byte) (int, error) {
	at := 4
	for at+4 <= len(image) {
		n := int64(binary.LittleEndian.Uint32(image[at:]))
		if n == 0 || n > int64(lz4.CompressBlockBound(lz4Block)) {
			break
		}
		if int64(at)+4+n > int64(len(image)) {
			return 0, io.ErrUnexpectedEOF
		}
		at += 4 + int(n)
	}
	return at, nil
}

// An lz4Reader unpacks block by block.
type lz4Reader struct {
	rest  []byte
	block []byte // the buffer
	ready []byte // the part of it that hasn't been read yet
}

func (r *lz4Reader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if len(r.rest) < 4 {
			return 0, io.EOF
		}
		if r.block == nil {
			r.block = make([]byte, lz4Block)
		}
		size := 4 + int(binary.LittleEndian.Uint32(r.rest))
		n, err := lz4.UncompressBlock(r.rest[4:size], r.block)
		if err != nil {
			return 0, fmt.Errorf("lz4: %w", err)
		}
		r.ready, r.rest = r.block[:n], r.rest[size:]
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
