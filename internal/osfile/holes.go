package osfile

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// nextData returns the offsets where the first data of the file at or after off begins and
// ends. After the last data, both are the end of the file. If the file system can't tell,
// everything is data. It changes the descriptor's offset.
func nextData(fd int, name string, off int64) (start, end int64, err error) {
	seek := func(off int64, whence int) int64 {
		at, e := unix.Seek(fd, off, whence)
		if err == nil {
			err = e
		}
		return at
	}
	start = seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no more data
		err = nil
		end = seek(0, unix.SEEK_END)
		return end, end, pathError("seek", name, err)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP):
		return off, math.MaxInt64, nil
	}
	end = seek(start, unix.SEEK_HOLE)
	return start, end, pathError("seek", name, err)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

// A Holed is an open file that can tell where its holes are. The descriptor's offset must
// not be used meanwhile.
type Holed struct{ *os.File }

// NextData returns where the next data begins and ends; see verity.Sparse.
func (h Holed) NextData(off int64) (start, end int64, err error) {
	return nextData(int(h.Fd()), h.Name(), off)
}

// A SparseSource is a Source that can tell where its holes are.
type SparseSource interface {
	Source
	NextData(off int64) (start, end int64, err error)
}

// Sparse returns f if it may have holes and can tell where, and otherwise nil.
func Sparse(f Source) SparseSource {
	if r, ok := f.(*Raw); ok && r.HasHoles() {
		return r
	}
	if h, ok := f.(Holed); ok {
		return h
	}
	return nil
}
