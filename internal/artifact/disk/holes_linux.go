package disk

import (
	"errors"
	"io"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A holed is an open file that is asked for its holes: a verity.Sparse.
type holed struct{ *os.File }

// isSparse reports whether content is a file with holes.
func isSparse(content any) (holed, bool) {
	f, ok := content.(*os.File)
	if !ok {
		return holed{}, false
	}
	info, err := f.Stat()
	if err != nil {
		return holed{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return holed{f}, ok && st.Blocks*512 < st.Size
}

// NextData returns where the next data begins and ends; see verity.Sparse. Where the file
// system doesn't know, all is data.
func (h holed) NextData(off int64) (start, end int64, err error) {
	start, err = h.Seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no more data
		end, err = h.Seek(0, io.SeekEnd)
		return end, end, err
	case errors.Is(err, unix.EINVAL):
		return off, math.MaxInt64, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = h.Seek(start, unix.SEEK_HOLE)
	return start, end, err
}

// copySparse copies a file without its holes, and returns its size.
func copySparse(to *os.File, from holed) (int64, error) {
	info, err := from.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	for off := int64(0); off < size; {
		start, end, err := from.NextData(off)
		if err != nil {
			return off, err
		}
		if start >= size {
			break
		}
		off = min(end, size)
		if _, err := io.Copy(io.NewOffsetWriter(to, start), io.NewSectionReader(from, start, off-start)); err != nil {
			return off, err
		}
	}
	return size, to.Truncate(size)
}
