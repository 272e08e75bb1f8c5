package verity

import (
	"io"
	"runtime"
)

// A Sparse is a file that can tell where its holes are.
type Sparse interface {
	io.ReaderAt
	// NextData returns the offsets where the first data at or after off begins and
	// ends. From off to start there are zeros only. After the last data, start and end
	// are the end of the file.
	NextData(off int64) (start, end int64, err error)
}

// SumSparse is like SumFile, but neither reads nor hashes holes.
func (h *Hasher) SumSparse(r Sparse, size int64, buf []byte) (Digest, error) {
	h.Reset()
	workers, span := runtime.GOMAXPROCS(0), h.alg.span()
	for h.size < size {
		start, end, err := nextSpans(r, h.size, size, span)
		if err != nil {
			return Digest{}, err
		}
		_, _ = h.WriteZeros(start - h.size)
		if workers > 1 && end-start >= manyFrom {
			z := h.zeroTree()
			sum := func(dst []byte, _ io.ReaderAt, off int64, buf []byte) error {
				return h.alg.sumSparseSpan(dst, r, off, buf, z)
			}
			if err := h.addSpans(r, end, workers, sum); err != nil {
				return Digest{}, err
			}
		}
		if err := h.addSparse(r, end, buf); err != nil {
			return Digest{}, err
		}
	}
	return h.Sum(), nil
}

// nextData is NextData in whole blocks of so many bytes, within the first size bytes of
// the file: start is size if there is no more.
func nextData(r Sparse, off, size, block int64) (start, end int64, err error) {
	start, end, err = r.NextData(off)
	if err != nil {
		return 0, 0, err
	}
	if start >= size {
		return size, size, nil
	}
	if end <= start {
		return 0, 0, truncated(size, end)
	}
	start = max(off, start/block*block)
	if end < size {
		end = (end + block - 1) / block * block
	}
	return start, min(end, size), nil
}

// nextSpans is nextData in spans, up to the next span that is all zeros. Smaller holes are
// left to the function that hashes a span.
func nextSpans(r Sparse, off, size, span int64) (start, end int64, err error) {
	start, end, err = nextData(r, off, size, span)
	for err == nil && end < size {
		var more, next int64
		if more, next, err = nextData(r, end, size, span); more > end || err != nil {
			break
		}
		end = next
	}
	return start, end, err
}

// addSparse is addRest for a Sparse. With buf it allocates nothing.
func (h *Hasher) addSparse(r Sparse, size int64, buf []byte) error {
	buf = buf[:min(len(buf), readSize)]
	for h.size < size {
		start, end, err := nextData(r, h.size, size, BlockSize)
		if err != nil {
			return err
		}
		_, _ = h.WriteZeros(start - h.size)
		for h.size < end {
			n := min(end-h.size, int64(len(buf)))
			if got, err := r.ReadAt(buf[:n], h.size); int64(got) < n {
				return endsEarly(err, size, h.size+int64(got))
			}
			h.writeRest(buf, int(n))
		}
	}
	return nil
}

// sumSparseSpan is sumSpan for a Sparse.
func (a Algorithm) sumSparseSpan(dst []byte, r Sparse, off int64, buf []byte, z *zeroTree) error {
	var level [BlockSize]byte
	filled := 0
	for end := off + a.span(); off < end; {
		start, stop, err := nextData(r, off, end, BlockSize)
		if err != nil {
			return err
		}
		zeros := int(start-off) / BlockSize * a.Size()
		a.fill(level[filled:][:zeros], z, 0)
		filled, off = filled+zeros, start
		for off < stop {
			b := buf[:min(int64(len(buf)), stop-off)]
			if n, err := r.ReadAt(b, off); n < len(b) {
				return endsEarly(err, end, off+int64(n))
			}
			filled += a.hashBlocks(level[filled:], b) * a.Size()
			off += int64(len(b))
		}
	}
	a.hashBlock(dst, level[:])
	return nil
}
