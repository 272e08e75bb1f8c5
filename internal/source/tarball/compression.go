package tarball

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindowMax is how much memory, in bytes, a zstd stream may require. It is the limit of
// the zstd program without --long or --memory.
const zstdWindowMax = 128 << 20

// A compression is a way to compress archives. Unsupported ones have no open, but a program
// that unpacks a file to standard output.
var compressions = []struct {
	name   string
	magic  []byte
	mask   byte // of the first byte
	open   func(*bufio.Reader) (io.Reader, func(), error)
	unpack string
}{
	{"gzip", []byte{0x1f, 0x8b}, 0xff, openGzip, ""},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, 0xff, openZstd, ""},
	{"zstd", []byte{0x50, 0x2a, 0x4d, 0x18}, 0xf0, openZstd, ""}, // it begins with a skippable frame
	{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}, 0xff, nil, "xz -dc"},
	{"lzma", []byte{0x5d, 0, 0}, 0xff, nil, "xz --format=lzma -dc"}, // no magic number: the usual parameters
	{"bzip2", []byte("BZh"), 0xff, nil, "bzip2 -dc"},
	{"lz4", []byte{0x04, 0x22, 0x4d, 0x18}, 0xff, nil, "lz4 -dc"},
	{"lz4", []byte{0x02, 0x21, 0x4c, 0x18}, 0xff, nil, "lz4 -dc"}, // the format before 2013
	{"lzip", []byte("LZIP"), 0xff, nil, "lzip -dc"},
	{"lzop", []byte{0x89, 'L', 'Z', 'O'}, 0xff, nil, "lzop -dc"},
	{"compress", []byte{0x1f, 0x9d}, 0xff, nil, "gzip -dc"},
}

// A gzipReader unpacks gzip members up to the end, or up to zeros: tar -czf - fills
// its last tape block with them.
type gzipReader struct {
	z  *gzip.Reader
	in *bufio.Reader
}

func openGzip(in *bufio.Reader) (io.Reader, func(), error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	z.Multistream(false)
	return &gzipReader{z, in}, func() {}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if n > 0 || err != io.EOF {
			return n, err
		}
		next, err := g.in.Peek(1)
		if err != nil {
			return 0, err
		}
		if next[0] == 0 {
			return 0, endAfterZeros(g.in)
		}
		if err := g.z.Reset(g.in); err != nil {
			return 0, err
		}
		g.z.Multistream(false)
	}
}

// A zstdReader unpacks zstd frames up to the end, or up to zeros.
type zstdReader struct {
	z  *zstd.Decoder
	in *zeroCounter
}

// zstdMagic is the length of a frame's magic number, in bytes.
const zstdMagic = 4

// openZstd appends zeros to the input where a frame could begin, so that the decoder always
// stops after the last frame with an error that says why.
func openZstd(in *bufio.Reader) (io.Reader, func(), error) {
	c := &zeroCounter{r: io.MultiReader(in, bytes.NewReader(make([]byte, zstdMagic)))}
	// One goroutine decodes while another finishes blocks.
	z, err := zstd.NewReader(c, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		return nil, nil, err
	}
	return &zstdReader{z, c}, z.Close, nil
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.z.Read(p)
	if errors.Is(err, zstd.ErrMagicMismatch) && z.in.zeros >= zstdMagic {
		err = endAfterZeros(z.in)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = &PackedError{Packed: "zstd", Unpack: "zstd --long=31 -dc", Window: zstdWindowMax}
	}
	return n, err
}

// endAfterZeros returns io.EOF if only zeros follow.
func endAfterZeros(r io.Reader) error {
	if err := skipZeros(r); err != nil {
		return err
	}
	return io.EOF
}

// A zeroCounter counts the zeros at the end of the bytes read so far.
type zeroCounter struct {
	r     io.Reader
	zeros int
}

func (c *zeroCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	rest := len(bytes.TrimRight(p[:n], "\x00"))
	if rest > 0 {
		c.zeros = 0
	}
	c.zeros += n - rest
	return n, err
}
