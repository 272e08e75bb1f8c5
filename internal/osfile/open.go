package osfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// ErrTooLarge is the cause when a file is larger than the caller's limit.
var ErrTooLarge = errors.New("file is too large")

// maxRaces is how often a lookup is tried again after the kernel noticed a rename during
// it (EAGAIN). More of them are an attack rather than an accident.
const maxRaces = 32

// OpenDir opens a directory by its path, for use as the base of the others.
func OpenDir(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// OpenIn opens path beneath dir. Symbolic links are followed as long as they
// stay beneath dir; magic links (/proc/self/fd) and ".." out of it are refused.
// The flags are as for open(2); O_CLOEXEC is added. With O_CREAT the mode is 0600.
func OpenIn(dir *os.File, path string, flags int) (*os.File, error) {
	return open(dir, path, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenPlain is OpenIn that refuses symbolic links altogether (ELOOP).
func OpenPlain(dir *os.File, path string, flags int) (*os.File, error) {
	return open(dir, path, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_SYMLINKS)
}

// OpenInRoot opens path as a process whose root is dir would: an absolute
// symbolic link starts again at dir. It is for paths inside a root file system.
func OpenInRoot(dir *os.File, path string, flags int) (*os.File, error) {
	return open(dir, path, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

func open(dir *os.File, path string, flags int, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: resolve}
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = 0o600
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(int(dir.Fd()), path, &how) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: join(dir, path), Err: err}
	}
	return os.NewFile(uintptr(fd), join(dir, path)), nil
}

// retry calls openat2 again after a signal and, a few times, after a race.
func retry(call func() (int, error)) (int, error) {
	for races := 0; ; {
		fd, err := call()
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && races < maxRaces:
			races++
		default:
			return fd, err
		}
	}
}

// Anything are the flags to open a file of unknown kind: a FIFO must not block until it has
// a writer, and a terminal must not become the controlling one.
const Anything = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// OpenRegularIn opens the regular file at path beneath dir, as OpenIn does.
func OpenRegularIn(dir *os.File, path string) (*os.File, error) {
	f, err := OpenIn(dir, path, Anything)
	if err != nil {
		return nil, err
	}
	if err := WantRegular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// WantRegular returns a KindError unless f is a regular file.
func WantRegular(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &KindError{f.Name(), regularFile, info.Mode()}
	}
	return err
}

// ReadLinkIn returns the first limit bytes of the text of the symbolic link at path
// beneath dir. It follows no other link on the way.
func ReadLinkIn(dir *os.File, path string, limit int) (string, error) {
	link, err := OpenPlain(dir, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer link.Close()
	info, err := link.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Type() != os.ModeSymlink {
		return "", fmt.Errorf("%s: want a symbolic link, found something else", link.Name())
	}
	buf := make([]byte, limit)
	n, err := unix.Readlinkat(int(link.Fd()), "", buf)
	if err != nil {
		return "", fmt.Errorf("read the link %s: %w", link.Name(), err)
	}
	return string(buf[:n]), nil
}

// ReadFileIn reads the regular file at path beneath dir, following no symbolic link. If the
// file has more than limit bytes, the error is ErrTooLarge and nothing is read.
func ReadFileIn(dir *os.File, path string, limit int64) ([]byte, error) {
	f, err := OpenPlain(dir, path, Anything)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, limit)
}

// ReadAll is ReadFileIn for an open file, which it reads from the start.
func ReadAll(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %w", &KindError{f.Name(), regularFile, info.Mode()})
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read %s: %w: %d bytes, at most %d expected", f.Name(), ErrTooLarge, info.Size(), limit)
	}
	// The file may grow meanwhile: what is read counts, not what stat said.
	data, err := io.ReadAll(io.NewSectionReader(f, 0, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", f.Name(), ErrTooLarge, limit)
	}
	return data, nil
}

// join returns the name of a path beneath dir for messages.
func join(dir *os.File, name string) string { return path.Join(dir.Name(), name) }
