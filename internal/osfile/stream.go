package osfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// nullDevice is the number of /dev/null.
var nullDevice = unix.Mkdev(1, 3)

// IsStream reports whether a path is a pipe or /dev/null: the user can only mean to write
// to it.
func IsStream(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && isStream(&st)
}

func isStream(st *unix.Stat_t) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return true
	case unix.S_IFCHR:
		return st.Rdev == nullDevice
	}
	return false
}

// CheckStream returns an error if OpenStream would refuse the path. It doesn't wait for a
// reader of the pipe.
func CheckStream(path string) error {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_PATH|atEnd(path)|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return mayWrite(fd, path)
}

// OpenStream opens for writing what IsStream says is one, at a path that FollowLinks
// returned. As the kernel does with fs.protected_fifos, it refuses a pipe that another
// user made in a directory such as /tmp: that user would get what is written.
func OpenStream(path string) (*os.File, error) {
	if err := CheckStream(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|atEnd(path), 0)
	if err != nil {
		return nil, err
	}
	// It may be another one by now.
	if err := mayWrite(int(f.Fd()), path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// atEnd is the flag of open(2) about a symbolic link at the end of the path: it is followed
// only if it is one to an open file, with a text that is no path.
func atEnd(path string) int {
	if strings.HasPrefix(path, "/proc/") {
		return 0
	}
	return unix.O_NOFOLLOW
}

// mayWrite returns an error unless what is open is a stream that may be written to.
func mayWrite(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if !isStream(&st) {
		return fmt.Errorf("%s: it was a pipe, and is none any more", path)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO || strings.HasPrefix(path, "/proc/") {
		return nil
	}
	return mayUse(filepath.Dir(path), st.Uid, "a pipe")
}
