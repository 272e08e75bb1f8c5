package splitstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/verity"
)

// A Chunk is a piece of a stream: some of its bytes, or an object.
type Chunk struct {
	Inline []byte        // valid until the next chunk is read; nil for an object
	Object verity.Digest // zero for inline bytes
}

// pieceSize is the most inline bytes of a Chunk.
const pieceSize = 32 << 10

// Chunks returns the stream's chunks in order, long inline ones in pieces. An error is the
// last.
func (s *Reader) Chunks() iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		in := &packed{r: io.NewSectionReader(s.r, int64(s.stream.start), s.stream.size())}
		z, err := newDecoder(in)
		if err != nil {
			yield(Chunk{}, err)
			return
		}
		defer z.Close()
		c := chunkReader{s: s, in: in, z: z, buf: make([]byte, pieceSize)}
		for {
			chunk, err := c.next()
			if err == io.EOF || !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// A chunkReader reads the chunks of a stream.
type chunkReader struct {
	s    *Reader
	in   *packed
	z    *zstd.Decoder
	buf  []byte
	seen int   // chunks so far
	left int64 // inline bytes of the current chunk that haven't been returned
	read int64 // inline bytes so far, with these
}

// next returns the next chunk or piece of one. At the end the error is io.EOF.
func (c *chunkReader) next() (Chunk, error) {
	if c.left == 0 {
		n, err := c.head()
		if err != nil {
			return Chunk{}, err
		}
		if n >= 0 {
			if n >= int64(len(c.s.Objects)) {
				return Chunk{}, formatError("want one of its %d objects, found object %d", len(c.s.Objects), n)
			}
			return Chunk{Object: c.s.Objects[n]}, nil
		}
		// The smallest number has no positive counterpart, and stays negative.
		if c.left = -n; c.left < 0 || c.left > c.s.Size-c.read {
			return Chunk{}, formatError("it has more than the %d bytes that it claims to have", c.s.Size)
		}
		c.read += c.left
	}
	piece := c.buf[:min(c.left, pieceSize)]
	if _, err := io.ReadFull(c.z, piece); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Chunk{}, c.in.explain("stream", err)
	}
	c.left -= int64(len(piece))
	return Chunk{Inline: piece}, nil
}

// head reads the number that a chunk begins with.
func (c *chunkReader) head() (int64, error) {
	_, err := io.ReadFull(c.z, c.buf[:8])
	if err == io.EOF {
		return 0, io.EOF
	}
	if err != nil {
		return 0, c.in.explain("stream", err)
	}
	if c.seen++; c.seen > MaxChunks {
		return 0, fmt.Errorf("%w: more than %d chunks", ErrTooLarge, MaxChunks)
	}
	return int64(binary.LittleEndian.Uint64(c.buf)), nil
}

// Merge writes all bytes of the stream to w. open opens the objects; it decides whether they
// are verified. An empty object is an error, except in an empty stream: opening it once more
// would cost time and add nothing.
func (s *Reader) Merge(w io.Writer, open func(verity.Digest) (io.ReadCloser, error)) error {
	var total int64
	seen := 0
	for c, err := range s.Chunks() {
		if err != nil {
			return err
		}
		n, err := c.writeTo(w, open, s.Size-total)
		if err != nil {
			return err
		}
		if seen++; n == 0 && (s.Size > 0 || seen > 1) {
			return formatError("object %s is empty", c.Object.Hex())
		}
		total += n
	}
	if total != s.Size {
		return formatError("want the %d bytes that it claims to have, found %d", s.Size, total)
	}
	return nil
}

// writeTo writes a chunk of at most a number of bytes, and returns its size.
func (c Chunk) writeTo(w io.Writer, open func(verity.Digest) (io.ReadCloser, error), most int64) (n int64, err error) {
	if c.Object.IsZero() {
		_, err := w.Write(c.Inline)
		return int64(len(c.Inline)), err
	}
	r, err := open(c.Object)
	if err != nil {
		return 0, fmt.Errorf("object %s: %w", c.Object.Hex(), err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// One byte more tells an object that is too large; there are no larger sizes than int64's.
	n, err = io.Copy(w, io.LimitReader(r, most+min(1, math.MaxInt64-most)))
	if err == nil && n > most {
		err = formatError("it has more bytes than it claims to have, beginning in object %s", c.Object.Hex())
	}
	return n, err
}
