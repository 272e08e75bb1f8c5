package osfile

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A KindError is something that has to be a regular file or a directory and is something
// else.
type KindError struct {
	Path  string
	Want  string // "a regular file" or "a directory"
	Found fs.FileMode
}

func (e *KindError) Error() string { return e.Path + ": want " + e.Want + ", found " + Kind(e.Found) }

// Kind says in words what a file is, as in "a block device".
func Kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeCharDevice != 0:
		return "a character device"
	case mode&fs.ModeDevice != 0:
		return "a block device"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a special file"
}

// The kinds that a KindError wants.
const (
	regularFile = "a regular file"
	directory   = "a directory"
)

// OpenRegularPlain opens the regular file at path beneath dir, following no symbolic link.
// If anything on the path is of another kind than it has to be, the error is a KindError
// about that.
func OpenRegularPlain(dir *os.File, path string) (*os.File, error) {
	f, err := OpenPlain(dir, path, Anything)
	if err != nil {
		return nil, otherKind(dir, path, regularFile, err)
	}
	if err := WantRegular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenDirPlain opens the directory at path beneath dir, following no symbolic link. If
// anything on the path is of another kind, the error is a KindError about that.
func OpenDirPlain(dir *os.File, path string) (*os.File, error) {
	f, err := OpenPlain(dir, path, unix.O_RDONLY|unix.O_DIRECTORY)
	return f, otherKind(dir, path, directory, err)
}

// otherKind returns what is the matter if the kernel couldn't open a path because
// something on it is of the wrong kind, and otherwise the error itself.
func otherKind(dir *os.File, path, want string, err error) error {
	if !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ENXIO) {
		return err
	}
	for end := 0; end < len(path); end++ {
		more := strings.IndexByte(path[end:], '/')
		if more < 0 {
			more = len(path) - end
		}
		end += more
		kind := directory
		if end == len(path) {
			kind = want
		}
		info, statErr := lstatIn(dir, path[:end])
		if statErr != nil {
			return err
		}
		if kind == directory && !info.IsDir() || kind == regularFile && !info.Mode().IsRegular() {
			return &KindError{join(dir, path[:end]), kind, info.Mode()}
		}
	}
	return err
}

// lstatIn says what is at path beneath dir. On the way to it there is no symbolic link.
func lstatIn(dir *os.File, path string) (fs.FileInfo, error) {
	f, err := OpenPlain(dir, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}
