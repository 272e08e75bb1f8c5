package directory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A handle is an open directory that the walker and the workers share. Files are opened
// relative to it. So no directory that is meanwhile renamed or replaced by a symlink leads
// elsewhere, and paths of any length work.
type handle struct {
	fd     int
	parent *handle // only for the path; it may be closed
	name   string  // the whole path of the top
	dev    uint64  // device number, once the directory is described
	refs   atomic.Int32
}

// openTop opens the directory to be read. The path may be a symbolic link to it.
func openTop(path string) (*handle, error) {
	fd, err := openDirectory(unix.AT_FDCWD, path, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	return newHandle(fd, path, nil), nil
}

func (h *handle) open(name string) (*handle, error) {
	fd, err := openDirectory(h.fd, name, unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", filepath.Join(h.path(), name), err)
	}
	return newHandle(fd, name, h), nil
}

func openDirectory(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func newHandle(fd int, name string, parent *handle) *handle {
	h := &handle{fd: fd, name: name, parent: parent}
	h.refs.Store(1)
	return h
}

func (h *handle) path() string {
	if h.parent == nil {
		return h.name
	}
	return filepath.Join(h.parent.path(), h.name)
}

func (h *handle) retain() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		unix.Close(h.fd)
	}
}
