package osfile

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A Source is an open file whose content is read.
type Source interface {
	io.ReaderAt
	Fd() uintptr
}

// A Raw is an open regular file that is read once and closed. An *os.File makes three more
// system calls for each, which would be most of the work of reading a tree of small files.
type Raw struct {
	fd    int
	name  string // for messages
	holes bool   // whether it may have holes
}

// OpenRaw opens name in the directory dirfd for reading. It follows no symbolic link, and
// doesn't wait for a FIFO to have a writer.
func OpenRaw(dirfd int, name string) (Raw, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return Raw{}, err
	}
	return Raw{fd: fd, name: name}, nil
}

// Fd returns the descriptor.
func (r Raw) Fd() uintptr { return uintptr(r.fd) }

// Close closes the file.
func (r Raw) Close() error { return unix.Close(r.fd) }

// SetStat tells the file what fstat returned, which shows whether it may have holes.
func (r *Raw) SetStat(st *unix.Stat_t) { r.holes = st.Blocks*512 < st.Size }

// HasHoles reports whether the file may have holes.
func (r *Raw) HasHoles() bool { return r.holes }

// NextData returns where the next data begins and ends, see verity.Sparse.
func (r *Raw) NextData(off int64) (start, end int64, err error) { return nextData(r.fd, r.name, off) }

// ReadAt implements io.ReaderAt.
func (r Raw) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(r.fd, b[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, &os.PathError{Op: "read", Path: r.name, Err: err}
		case m == 0:
			return n, io.EOF
		default:
			n += m
		}
	}
	return n, nil
}
