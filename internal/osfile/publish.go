package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxNames is how many temporary names are tried before giving up.
const maxNames = 1000

// A temp is a file that has no final name yet. Where the file system allows it
// (O_TMPFILE) it has no name at all, so that a crash leaves nothing behind.
type temp struct {
	dir  *os.File
	file *os.File
	name string // of the temporary file; "" with O_TMPFILE
}

// newTemp creates a temporary file in dir, to be linked there later.
func newTemp(dir *os.File, mode os.FileMode) (*temp, error) {
	f, err := OpenPlain(dir, ".", unix.O_TMPFILE|unix.O_RDWR)
	t := &temp{dir: dir, file: f}
	switch {
	case err == nil:
		_ = Lock(f, false) // replace will give it a temporary name
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		if err := t.createNamed(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("create a temporary file in %s: %w", dir.Name(), err)
	}
	if err := t.file.Chmod(mode); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// createNamed creates the file on file systems without O_TMPFILE, such as FAT.
func (t *temp) createNamed() (err error) {
	for i := range maxNames {
		t.name = tempName(i)
		t.file, err = OpenPlain(t.dir, t.name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR)
		if err == nil && !holdName(t.dir, t.name, t.file) {
			t.file.Close()
			continue
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		t.name = ""
		return fmt.Errorf("create a temporary file in %s: %w", t.dir.Name(), err)
	}
	return nil
}

// tempName returns the i-th name to try for a temporary file.
func tempName(i int) string {
	return tempPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
}

// freeze replaces the writable descriptor by a read-only one: fs-verity can only be enabled
// on a file that isn't open for writing.
func (t *temp) freeze() error {
	ro, err := os.OpenFile(procPath(t.file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("reopen a temporary file in %s for reading: %w", t.dir.Name(), err)
	}
	_ = Lock(ro, false) // before the other descriptor releases its lock
	err = t.file.Close()
	t.file = ro
	return err
}

// linkAs gives the file its name, which must not exist yet (fs.ErrExist).
func (t *temp) linkAs(name string) error {
	var err error
	if t.name == "" {
		err = unix.Linkat(unix.AT_FDCWD, procPath(t.file), int(t.dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	} else {
		err = unix.Renameat2(int(t.dir.Fd()), t.name, int(t.dir.Fd()), name, unix.RENAME_NOREPLACE)
		if err == nil {
			t.name = ""
		}
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: "temporary file", New: path.Join(t.dir.Name(), name), Err: err}
	}
	return nil
}

// replace gives the file its name, and atomically replaces a regular file or a symbolic
// link of that name. Anything else stays, and the error is a SpecialError.
func (t *temp) replace(name string) error {
	if err := replaceableIn(t.dir, name); err != nil {
		return err
	}
	for i := 0; t.name == ""; i++ {
		old := tempName(i)
		err := t.linkAs(old)
		if err == nil {
			t.name = old
		} else if !errors.Is(err, fs.ErrExist) || i == maxNames {
			return err
		}
	}
	if err := unix.Renameat(int(t.dir.Fd()), t.name, int(t.dir.Fd()), name); err != nil {
		return &os.PathError{Op: "replace", Path: path.Join(t.dir.Name(), name), Err: err}
	}
	t.name = ""
	return nil
}

// close closes the file, and removes it if it hasn't got its name.
func (t *temp) close() error {
	if t.name != "" {
		_ = unix.Unlinkat(int(t.dir.Fd()), t.name, 0)
		t.name = ""
	}
	return t.file.Close()
}

// Publish makes the file name in dir, whole and durable or not at all. It calls write to
// write the content, and then beforeLink, if not nil, with the file open read-only and
// without a name yet. If there is a file of that name, it stays and the error is
// fs.ErrExist.
func Publish(dir *os.File, name string, mode os.FileMode, write, beforeLink func(*os.File) error) error {
	return publish(dir, name, mode, write, beforeLink, (*temp).linkAs)
}

// Replace is like Publish, but replaces a regular file or a symbolic link of that name.
// Anything else stays, and the error is a SpecialError.
func Replace(dir *os.File, name string, mode os.FileMode, write func(*os.File) error) error {
	if err := replaceableIn(dir, name); err != nil { // before the work as well
		return err
	}
	return publish(dir, name, mode, write, nil, (*temp).replace)
}

func publish(dir *os.File, name string, mode os.FileMode, write, beforeLink func(*os.File) error, link func(*temp, string) error) error {
	t, err := newTemp(dir, mode)
	if err != nil {
		return err
	}
	defer t.close()
	if err := write(t.file); err != nil {
		return err
	}
	// Without this fsync a crash can leave the name pointing at an empty file.
	if err := t.file.Sync(); err != nil {
		return fmt.Errorf("publish %s: %w", path.Join(dir.Name(), name), err)
	}
	if beforeLink != nil {
		if err := t.freeze(); err != nil {
			return err
		}
		if err := beforeLink(t.file); err != nil {
			return err
		}
	}
	if err := link(t, name); err != nil {
		return err
	}
	// And without this one, no name at all.
	return SyncDir(dir)
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir *os.File) error {
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir.Name(), err)
	}
	return nil
}

// procPath returns a path of an open file, for system calls that take only paths.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
