package osfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Source is an open file whose content is read.
type Source interface {
	io.ReaderAt
	Fd() uintptr
}

// A Raw is an open regular file that is read or written once and closed. An *os.File makes
// three more system calls for each, which would be most of the work for a tree of small files.
type Raw struct {
	fd    int
	dir   string // for messages, as is name
	name  string
	holes bool // whether it may have holes
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

// CreateRaw makes the file name in the directory dirfd, which has none of that name, for
// reading and writing. The umask applies to perm. dir is the directory's path, for messages.
func CreateRaw(dirfd int, dir, name string, perm uint32) (Raw, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(dirfd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
	})
	if err != nil {
		return Raw{}, &os.PathError{Op: "create", Path: filepath.Join(dir, name), Err: err}
	}
	return Raw{fd: fd, dir: dir, name: name}, nil
}

// path returns the file's path, or as much of it as is known.
func (r *Raw) path() string { return filepath.Join(r.dir, r.name) }

// Fd returns the descriptor.
func (r Raw) Fd() uintptr { return uintptr(r.fd) }

// Close closes the file.
func (r Raw) Close() error { return unix.Close(r.fd) }

// SetStat tells the file what fstat returned, which shows whether it may have holes.
func (r *Raw) SetStat(st *unix.Stat_t) { r.holes = st.Blocks*512 < st.Size }

// HasHoles reports whether the file may have holes.
func (r *Raw) HasHoles() bool { return r.holes }

// NextData returns where the next data begins and ends, see verity.Sparse.
func (r *Raw) NextData(off int64) (start, end int64, err error) { return nextData(r.fd, r.path(), off) }

// ReadAt implements io.ReaderAt.
func (r Raw) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(r.fd, b[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, &os.PathError{Op: "read", Path: r.path(), Err: err}
		case m == 0:
			return n, io.EOF
		default:
			n += m
		}
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (r Raw) WriteAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pwrite(r.fd, b[n:], off+int64(n))
		n += max(m, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return n, &os.PathError{Op: "write", Path: r.path(), Err: err}
		}
	}
	return n, nil
}

// Truncate changes the size of the file.
func (r Raw) Truncate(size int64) error {
	_, err := retry(func() (int, error) { return 0, unix.Ftruncate(r.fd, size) })
	if err != nil {
		return &os.PathError{Op: "truncate", Path: r.path(), Err: err}
	}
	return nil
}

// Perm returns the permission bits of the file.
func (r Raw) Perm() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: r.path(), Err: err}
	}
	return st.Mode & 0o7777, nil
}

// SetPerm sets the permission bits of the file.
func (r Raw) SetPerm(perm uint32) error {
	if err := unix.Fchmod(r.fd, perm); err != nil {
		return &os.PathError{Op: "chmod", Path: r.path(), Err: err}
	}
	return nil
}
