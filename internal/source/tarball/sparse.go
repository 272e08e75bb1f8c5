package tarball

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// A contentReader reads the content of one file. It knows the file's holes: in these,
// archive/tar returns zeros without reading from the archive.
type contentReader struct {
	r     io.Reader
	s     *stream
	tee   io.Writer // gets the content too; or nil
	holes bool      // the file may have some

	kept      []byte // read by nextSparse and not returned yet; otherwise
	keptZeros int64
}

// Read returns an error if the holes of the archive's sparse files exceed the limit.
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

// A chunk is a piece of a file: bytes, or zeros of a hole.
type chunk struct {
	bytes []byte
	zeros int64
}

func (c chunk) size() int64 { return int64(len(c.bytes)) + c.zeros }

// A zeroWriter accepts a number of zeros without a buffer of them.
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

// next fills buf with the next bytes of a file, of which left remain. In a file with holes
// it returns either bytes or zeros, as many whole blocks as it can.
func (c *contentReader) next(buf []byte, left int64) (chunk, error) {
	if !c.holes {
		b := buf[:min(left, int64(len(buf)))]
		_, err := io.ReadFull(c, b)
		return chunk{bytes: b}, err
	}
	return c.nextSparse(buf, left)
}

// nextSparse reads block by block: a block belongs to a hole if nothing was read from the
// archive for it. The block that ends a run is kept for the next call.
func (c *contentReader) nextSparse(buf []byte, left int64) (chunk, error) {
	n, zeros := int64(copy(buf, c.kept)), c.keptZeros
	c.kept, c.keptZeros = c.kept[:0], 0
	for n+zeros < left && n < int64(len(buf)) {
		b := buf[n:][:min(blockSize, left-n-zeros, int64(len(buf))-n)]
		before := c.s.offset
		if _, err := io.ReadFull(c, b); err != nil {
			return chunk{bytes: buf[:n]}, err
		}
		// Nothing was read for it; bytes that had been read ahead wouldn't be zeros.
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

// hasHoles reports whether a header describes a sparse file.
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
