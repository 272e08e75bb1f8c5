package osfile

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A KindError is about a path where there should be a regular file or a directory, and
// there is something else.
type KindError struct {
	Path  string
	Want  string // "a regular file" or "a directory"
	Found fs.FileMode
}

func (e *KindError) Error() string { return e.Path + ": want " + e.Want + ", found " + Kind(e.Found) }

// Kind returns what a file is in words, as in "a block device".
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

// OpenRegularPlain opens the regular file name beneath dir, following no symbolic link.
// If anything on the way is of another kind than it has to be, the error is a KindError
// about that.
func OpenRegularPlain(dir *os.File, name string) (*os.File, error) {
	f, err := OpenPlain(dir, name, Anything)
	if err != nil {
		return nil, otherKind(dir, name, regularFile, err)
	}
	if err := WantRegular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenDirPlain opens the directory name beneath dir, following no symbolic link. If
// anything on the way is of another kind, the error is a KindError about that.
func OpenDirPlain(dir *os.File, name string) (*os.File, error) {
	f, err := OpenPlain(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	return f, otherKind(dir, name, directory, err)
}

// otherKind returns what is the matter if the kernel couldn't open a path because
// something on it is of the wrong kind, and otherwise the error itself.
func otherKind(dir *os.File, name, want string, err error) error {
	if !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ENXIO) {
		return err
	}
	for end := 0; end < len(name); end++ {
		more := strings.IndexByte(name[end:], '/')
		if more < 0 {
			more = len(name) - end
		}
		end += more
		kind := directory
		if end == len(name) {
			kind = want
		}
		info, statErr := lstatIn(dir, name[:end])
		if statErr != nil {
			return err
		}
		if kind == directory && !info.IsDir() || kind == regularFile && !info.Mode().IsRegular() {
			return &KindError{join(dir, name[:end]), kind, info.Mode()}
		}
	}
	return err
}

// lstatIn says what name is beneath dir. On the way to it there is no symbolic link.
func lstatIn(dir *os.File, name string) (fs.FileInfo, error) {
	f, err := OpenPlain(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// OpenTrusted opens the regular file at a path that decides what is trusted. Neither the
// file nor its directory may be a symbolic link, which may lead to where anybody can
// write: that is a KindError. Links further up are followed.
func OpenTrusted(name string) (*os.File, error) { return openTrusted(name, OpenRegularPlain) }

// OpenTrustedDir is OpenTrusted for a directory.
func OpenTrustedDir(name string) (*os.File, error) { return openTrusted(name, OpenDirPlain) }

func openTrusted(name string, open func(*os.File, string) (*os.File, error)) (*os.File, error) {
	above, below := path.Dir(path.Clean(name)), path.Base(path.Clean(name))
	switch {
	case isNoEntry(below):
		above, below = path.Join(above, below), "."
	case !isNoEntry(path.Base(above)):
		above, below = path.Dir(above), path.Join(path.Base(above), below)
	}
	top, err := OpenDir(above)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return open(top, below)
}

// isNoEntry tells whether the last part of a clean path isn't the name of an entry of its
// directory, and so can't be a symbolic link.
func isNoEntry(base string) bool { return base == "/" || base == "." || base == ".." }

// DirFS is os.DirFS for a directory of unknown content: a pipe in it isn't waited for, and is
// an error like every other file that isn't a regular one or a directory.
func DirFS(dir string) fs.FS { return dirFS(dir) }

type dirFS string

// Open implements fs.FS.
func (d dirFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := os.OpenFile(filepath.Join(string(d), name), Anything, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		if err = errors.Join(err, WantRegular(f)); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// PlainFS is the regular files and directories of an open directory as fs.FS. Symbolic
// links are KindErrors.
type PlainFS struct{ Dir *os.File }

// Open implements fs.FS.
func (p PlainFS) Open(name string) (fs.File, error) {
	f, err := OpenPlain(p.Dir, name, Anything)
	if err != nil {
		return nil, otherKind(p.Dir, name, regularFile, err) // not f: a nil *os.File isn't nil in an interface
	}
	return f, nil
}
