package disk

import (
	"io"
	"os"
	"syscall"

	"github.com/composefs-go/composefs/internal/osfile"
)

// asSparse returns content as a file that can tell its holes, and whether it is a file that
// has some.
func asSparse(content any) (osfile.Holed, bool) {
	f, ok := content.(*os.File)
	if !ok {
		return osfile.Holed{}, false
	}
	info, err := f.Stat()
	if err != nil {
		return osfile.Holed{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return osfile.Holed{File: f}, ok && st.Blocks*512 < st.Size
}

// copySparse copies a file without its holes, and returns its size.
func copySparse(to *os.File, from osfile.Holed) (int64, error) {
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
