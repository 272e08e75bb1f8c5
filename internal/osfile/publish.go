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

// A Temp is a file that has no final name yet. Where the file system allows it
// (O_TMPFILE) it has no name at all, so that a crash leaves nothing behind.
type Temp struct {
	dir  *os.File
	file *os.File
	name string // of the temporary file; "" with O_TMPFILE
}

// NewTemp creates a temporary file in dir, to be linked there later.
func NewTemp(dir *os.File, mode os.FileMode) (*Temp, error) {
	f, err := OpenPlain(dir, ".", unix.O_TMPFILE|unix.O_RDWR)
	t := &Temp{dir: dir, file: f}
	switch {
	case err == nil:
		_ = Lock(f, false) // Replace will give it a temporary name
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		if err := t.createNamed(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("create a temporary file in %s: %w", dir.Name(), err)
	}
	if err := t.file.Chmod(mode); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// createNamed is for file systems without O_TMPFILE, such as FAT.
func (t *Temp) createNamed() (err error) {
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

// tempName returns the names to try for a file.
func tempName(i int) string {
	return tempPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
}

// Freeze replaces the writable descriptor by a read-only one: fs-verity can be
// turned on only when nobody has the file open for writing.
func (t *Temp) Freeze() error {
	ro, err := os.OpenFile(procPath(t.file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("reopen a temporary file in %s for reading: %w", t.dir.Name(), err)
	}
	_ = Lock(ro, false) // before the other one's is gone
	err = t.file.Close()
	t.file = ro
	return err
}

// Link gives the file its name, which must not exist yet (fs.ErrExist).
func (t *Temp) Link(name string) error {
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

// Replace gives the file its name; a regular file or a symbolic link of that name
// gives way atomically. Anything else is a SpecialError and stays.
func (t *Temp) Replace(name string) error {
	if err := replaceableIn(t.dir, name); err != nil {
		return err
	}
	for i := 0; t.name == ""; i++ {
		old := tempName(i)
		err := t.Link(old)
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

// Close closes the file, and removes it if it got no name.
func (t *Temp) Close() error {
	if t.name != "" {
		_ = unix.Unlinkat(int(t.dir.Fd()), t.name, 0)
		t.name = ""
	}
	return t.file.Close()
}

// Publish makes the file name in dir, whole and durable or not at all. write
// fills it; beforeLink, if not nil, gets it read-only while it has no name yet.
// An existing file of that name is fs.ErrExist and stays as it is.
func Publish(dir *os.File, name string, mode os.FileMode, write, beforeLink func(*os.File) error) error {
	return publish(dir, name, mode, write, beforeLink, (*Temp).Link)
}

// Replace is Publish that puts the new file in the place of an existing one, or of a
// symbolic link. What is anything else stays, and is a SpecialError.
func Replace(dir *os.File, name string, mode os.FileMode, write func(*os.File) error) error {
	if err := replaceableIn(dir, name); err != nil { // before the work, too
		return err
	}
	return publish(dir, name, mode, write, nil, (*Temp).Replace)
}

func publish(dir *os.File, name string, mode os.FileMode, write, beforeLink func(*os.File) error, link func(*Temp, string) error) error {
	t, err := NewTemp(dir, mode)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := write(t.file); err != nil {
		return err
	}
	// Without this fsync a crash can leave the name pointing at an empty file.
	if err := t.file.Sync(); err != nil {
		return fmt.Errorf("publish %s: %w", path.Join(dir.Name(), name), err)
	}
	if beforeLink != nil {
		if err := t.Freeze(); err != nil {
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

// SyncDir makes the names in dir durable.
func SyncDir(dir *os.File) error {
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir.Name(), err)
	}
	return nil
}

// procPath names an open file by its descriptor, for calls that take only paths.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
