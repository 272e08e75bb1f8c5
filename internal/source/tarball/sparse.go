package tarball

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// A contentReader reads the content of one file, and knows its holes: they are what
// comes out without that anything is read of the archive.
type contentReader struct {
	r     io.Reader
	s     *stream
	tee   io.Writer // gets it too; or nil
	holes bool      // it may have some

	kept      []byte // read by nextSparse and not returned so far; or else
	keptZeros int64
}

// Read stops when the holes of the archive's sparse files add up to too much.
func (c *contentReader) Read(p []byte) (int, error) {
	// Before reading: io.ReadFull drops an error that comes with the last byte.
	if err := c.s.check(); err != nil {
		return 0, err
	}
	before := c.s.offset
	n, err := c.r.Read(p)
	c.s.holes += max(0, int64(n)-(c.s.offset-before))
	if c.tee != nil {
		if _, err := c.tee.Write(p[:n]); err != nil {
			return n, err
		}
	}
	return n, err
}

// A chunk is a piece of a file: bytes, or else so many zeros of a hole.
type chunk struct {
	bytes []byte
	zeros int64
}

func (c chunk) size() int64 { return int64(len(c.bytes)) + c.zeros }

// A zeroWriter takes zeros without that anybody has to write them out.
type zeroWriter interface {
	WriteZeros(n int64) (int64, error)
}

// writeTo writes the chunk.
func (c chunk) writeTo(w io.Writer) error {
	if c.zeros == 0 {
		_, err := w.Write(c.bytes)
		return err
	}
	if z, ok := w.(zeroWriter); ok {
		_, err := z.WriteZeros(c.zeros)
		return err
	}
	zeros := make([]byte, min(c.zeros, 64<<10))
	for left := c.zeros; left > 0; left -= int64(len(zeros)) {
		zeros = zeros[:min(left, int64(len(zeros)))]
		if _, err := w.Write(zeros); err != nil {
			return err
		}
	}
	return nil
}

// next fills buf with what comes next of a file that has left more bytes. Of a file
// with holes these are either bytes or zeros, of as many whole blocks as there are.
func (c *contentReader) next(buf []byte, left int64) (chunk, error) {
	if !c.holes {
		b := buf[:min(left, int64(len(buf)))]
		_, err := io.ReadFull(c, b)
		return chunk{bytes: b}, err
	}
	return c.nextSparse(buf, left)
}

// nextSparse reads block by block, since only a block that comes without that anything
// is read is known to be of a hole. The one that ends a run is kept for the next call.
func (c *contentReader) nextSparse(buf []byte, left int64) (chunk, error) {
	n, zeros := int64(copy(buf, c.kept)), c.keptZeros
	c.kept, c.keptZeros = c.kept[:0], 0
	for n+zeros < left && n < int64(len(buf)) {
		b := buf[n:][:min(blockSize, left-n-zeros, int64(len(buf))-n)]
		before := c.s.offset
		if _, err := io.ReadFull(c, b); err != nil {
			return chunk{bytes: buf[:n]}, err
		}
		// Nothing was read for it; and if anybody had read ahead, it wouldn't be zeros.
		switch hole := c.s.offset == before && bytes.Equal(b, zeroBlock[:len(b)]); {
		case hole && n > 0:
			c.keptZeros = int64(len(b))
			return chunk{bytes: buf[:n]}, nil
		case hole:
			zeros += int64(len(b))
		case zeros > 0:
			c.kept = append(c.kept, b...)
			return chunk{zeros: zeros}, nil
		default:
			n += int64(len(b))
		}
	}
	return chunk{bytes: buf[:n], zeros: zeros}, nil
}

var zeroBlock [blockSize]byte

// hasHoles reports whether a header is that of a sparse file.
func hasHoles(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

const blockSize = verity.BlockSize
