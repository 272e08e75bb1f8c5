package verity

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrTruncated is the cause when a file has fewer bytes than its size said: it
// changed while it was read.
var ErrTruncated = errors.New("file is shorter than its size")

// Sum returns the digest of a file with the content b.
func Sum(alg Algorithm, b []byte) Digest {
	h := NewHasher(alg)
	_, _ = h.Write(b)
	return h.Sum()
}

// SumReader returns the digest of all that r has, and its size in bytes. Who
// hashes many files keeps a Hasher and calls ReadFrom, Sum and Reset.
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

// SumFile returns the digest of the first size bytes of r, which are to be the
// whole file. A large file is hashed by as many goroutines as GOMAXPROCS allows;
// r must then bear concurrent calls of ReadAt, as an *os.File does.
func SumFile(alg Algorithm, r io.ReaderAt, size int64) (Digest, error) {
	if !alg.Valid() {
		return Digest{}, fmt.Errorf("%w: number %d", ErrAlgorithm, alg)
	}
	return NewHasher(alg).sumFile(r, size, parallelFrom, nil)
}

// manyFrom is the size of a file, in bytes, from which more than one goroutine
// hashes it although there are other files to hash at the same time.
const manyFrom = 16 << 20

// SumFile is the function SumFile for one file of many that are hashed at the same
// time. It resets h. What it reads goes through buf, a multiple of BlockSize long,
// and nothing is allocated, but for a file of at least 16 MiB.
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

// endsEarly is the error for a read that gave less than the file's size promised.
func endsEarly(err error, size, end int64) error {
	if err == nil || err == io.EOF {
		return truncated(size, end)
	}
	return err
}

func roundUp(n int64) int64 { return (n + BlockSize - 1) / BlockSize * BlockSize }

// addRest adds what r has from where the Hasher is up to size. Without buf it makes
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

// A span is the part of the file below one block of level 0: as many data blocks
// as hashes fit into a block. Spans can be hashed apart from each other.
func (a Algorithm) span() int64 { return int64(BlockSize / a.Size() * BlockSize) }

// windowSpans is how many spans are shared out at a time. It bounds the memory
// for their hashes, and is many enough to make waiting for the last one cheap.
const windowSpans = 2048

// A spanSummer writes to dst the hash of the level 0 block over the span of r at off.
type spanSummer func(dst []byte, r io.ReaderAt, off int64, buf []byte) error

// addSpans adds all whole spans of the first size bytes of r, from where the Hasher is
// on, which must be at the beginning of one.
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

// sumSpans fills sums with the hashes of the spans of r from off on, by several
// goroutines of which each takes the next span that nobody has.
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
			return err // one is enough: they all tell of the same file
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
