package splitstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/verity"
)

// A Chunk is a piece of a stream: some of its bytes, or an object.
type Chunk struct {
	Inline []byte        // valid until the next chunk is read; nil for an object
	Object verity.Digest // zero for inline bytes
}

// Chunks reads a stream's chunks in order.
type Chunks struct {
	s    *Reader
	in   *packed
	z    *zstd.Decoder
	buf  []byte
	seen int   // chunks so far
	left int64 // inline bytes of the current chunk that haven't been returned
	read int64 // inline bytes so far
}

// pieceSize is the most inline bytes that Next returns.
const pieceSize = 32 << 10

// Chunks returns the stream's chunks from the first. It must be closed.
func (s *Reader) Chunks() (*Chunks, error) {
	in := &packed{r: io.NewSectionReader(s.r, int64(s.stream.start), s.stream.size())}
	z, err := newDecoder(in)
	if err != nil {
		return nil, err
	}
	return &Chunks{s: s, in: in, z: z, buf: make([]byte, pieceSize)}, nil
}

// Close frees the memory of the decompression.
func (c *Chunks) Close() { c.z.Close() }

// Next returns the next chunk, or a part of a long inline one. At the end the error is
// io.EOF.
func (c *Chunks) Next() (Chunk, error) {
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
func (c *Chunks) head() (int64, error) {
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
	chunks, err := s.Chunks()
	if err != nil {
		return err
	}
	defer chunks.Close()
	var total int64
	for {
		c, err := chunks.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		n := int64(len(c.Inline))
		if c.Object.IsZero() {
			_, err = w.Write(c.Inline)
		} else {
			n, err = copyObject(w, c.Object, open, s.Size-total, s.Size == 0 && chunks.seen == 1)
		}
		if total += n; err != nil {
			return err
		}
	}
	if total != s.Size {
		return formatError("want the %d bytes that it claims to have, found %d", s.Size, total)
	}
	return nil
}

// copyObject writes an object of at most a number of bytes, and returns its size. It may be
// 0 if empty is set.
func copyObject(w io.Writer, d verity.Digest, open func(verity.Digest) (io.ReadCloser, error), most int64, empty bool) (n int64, err error) {
	r, err := open(d)
	if err != nil {
		return 0, fmt.Errorf("object %s: %w", d.Hex(), err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	n, err = io.Copy(w, io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return n, err
	case n > most:
		return n, formatError("it has more bytes than it claims to have, beginning in object %s", d.Hex())
	case n == 0 && !empty:
		return n, formatError("object %s is empty", d.Hex())
	}
	return n, nil
}
