package verity

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrTruncated is the cause when a file ends before the size that was given: it changed
// while it was being read.
var ErrTruncated = errors.New("file is shorter than its size")

// Sum returns the digest of a file with the content b. If alg isn't Valid, it is the zero
// Digest.
func Sum(alg Algorithm, b []byte) Digest {
	h := NewHasher(alg)
	_, _ = h.Write(b)
	return h.Sum()
}

// SumReader returns the digest of everything that r has, and its size in bytes. To hash
// many files, use one Hasher and call its ReadFrom, Sum and Reset.
func SumReader(alg Algorithm, r io.Reader) (Digest, int64, error) {
	if !alg.Valid() {
		return Digest{}, 0, fmt.Errorf("%w: number %d", ErrAlgorithm, alg)
	}
	h := NewHasher(alg)
	n, err := h.ReadFrom(r)
	if err != nil {
		return Digest{}, n, err
	}
	return h.Sum(), n, nil
}

// parallelFrom is the size of a file, in bytes, from which more than one
// goroutine hashes it.
const parallelFrom = 4 << 20

// SumFile returns the digest of a file with the first size bytes of r. A large file is
// hashed by as many goroutines as GOMAXPROCS allows, so r must permit concurrent calls of
// ReadAt, as an *os.File does.
func SumFile(alg Algorithm, r io.ReaderAt, size int64) (Digest, error) {
	if !alg.Valid() {
		return Digest{}, fmt.Errorf("%w: number %d", ErrAlgorithm, alg)
	}
	return NewHasher(alg).sumFile(r, size, parallelFrom, nil)
}

// manyFrom is the size of a file, in bytes, from which more than one goroutine
// hashes it although there are other files to hash at the same time.
const manyFrom = 16 << 20

// SumFile is like the function SumFile, for callers that hash several files at the same
// time. It resets h and reads through buf, whose length must be a multiple of BlockSize.
// Only for files of 16 MiB or more does it allocate memory and use several goroutines.
func (h *Hasher) SumFile(r io.ReaderAt, size int64, buf []byte) (Digest, error) {
	h.Reset()
	return h.sumFile(r, size, manyFrom, buf)
}

// sumFile is SumFile for a Hasher that is new or reset, with several goroutines for
// a file of at least so many bytes.
func (h *Hasher) sumFile(r io.ReaderAt, size, parallel int64, buf []byte) (Digest, error) {
	if workers := runtime.GOMAXPROCS(0); workers > 1 && size >= parallel {
		if err := h.addSpans(r, size, workers, h.alg.sumSpan); err != nil {
			return Digest{}, err
		}
	}
	if err := h.addRest(r, size, buf); err != nil {
		return Digest{}, err
	}
	return h.Sum(), nil
}

// endsEarly returns the error for a read that returned fewer bytes than the file should
// have.
func endsEarly(err error, size, end int64) error {
	if err == nil || err == io.EOF {
		return truncated(size, end)
	}
	return err
}

func roundUp(n int64) int64 { return (n + BlockSize - 1) / BlockSize * BlockSize }

// addRest adds the bytes of r from the Hasher's size up to size. If buf is nil, it makes
// one.
func (h *Hasher) addRest(r io.ReaderAt, size int64, buf []byte) error {
	if buf == nil {
		buf = make([]byte, max(BlockSize, min(roundUp(size-h.size), readSize)))
	}
	buf = buf[:min(len(buf), readSize)]
	if size < h.size {
		return truncated(size, h.size)
	}
	for h.size < size {
		n := min(size-h.size, int64(len(buf)))
		if got, err := r.ReadAt(buf[:n], h.size); int64(got) < n {
			return endsEarly(err, size, h.size+int64(got))
		}
		h.writeRest(buf, int(n))
	}
	return nil
}

func truncated(size, end int64) error {
	return fmt.Errorf("%w: want %d bytes, found the end at or before %d", ErrTruncated, size, end)
}

// span returns the size in bytes of the part of a file below one block of level 0: as many
// data blocks as hashes fit into a block. Spans can be hashed independently.
func (a Algorithm) span() int64 { return int64(BlockSize / a.Size() * BlockSize) }

// windowSpans is how many spans are shared out at a time. It bounds the memory for their
// hashes, and is large enough that waiting for the last one costs little.
const windowSpans = 2048

// A spanSummer writes to dst the hash of the level 0 block over the span of r at off.
type spanSummer func(dst []byte, r io.ReaderAt, off int64, buf []byte) error

// addSpans adds all whole spans of r between the Hasher's size, which must be where a span
// begins, and size.
func (h *Hasher) addSpans(r io.ReaderAt, size int64, workers int, sum spanSummer) error {
	span := h.alg.span()
	left := (size - h.size) / span
	sums := make([]byte, min(left, windowSpans)*int64(h.width))
	for left > 0 {
		n := min(left, windowSpans)
		if err := h.alg.sumSpans(sums[:n*int64(h.width)], r, h.size, workers, sum); err != nil {
			return err
		}
		for s := range n {
			h.pushHash(1, sums[s*int64(h.width):][:h.width])
		}
		h.size += n * span
		left -= n
	}
	return nil
}

// sumSpans fills sums with the hashes of the spans of r from off on. Each of several
// goroutines takes the next span that no other has taken.
func (a Algorithm) sumSpans(sums []byte, r io.ReaderAt, off int64, workers int, sum spanSummer) error {
	var (
		next   atomic.Int64
		group  sync.WaitGroup
		width  = a.Size()
		n      = int64(len(sums) / width)
		errs   = make([]error, min(int64(workers), n))
		failed atomic.Bool
	)
	for w := range errs {
		group.Go(func() {
			buf := make([]byte, readSize)
			for s := next.Add(1) - 1; s < n && !failed.Load(); s = next.Add(1) - 1 {
				if err := sum(sums[s*int64(width):], r, off+s*a.span(), buf); err != nil {
					errs[w] = err
					failed.Store(true)
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one is enough: all are about the same file
		}
	}
	return nil
}

// sumSpan is the spanSummer for files that are read whole.
func (a Algorithm) sumSpan(dst []byte, r io.ReaderAt, off int64, buf []byte) error {
	var level [BlockSize]byte
	filled := 0
	for end := off + a.span(); off < end; off += int64(len(buf)) {
		if n, err := r.ReadAt(buf, off); n < len(buf) {
			return endsEarly(err, end, off+int64(n))
		}
		filled += a.hashBlocks(level[filled:], buf) * a.Size()
	}
	a.hashBlock(dst, level[:])
	return nil
}
