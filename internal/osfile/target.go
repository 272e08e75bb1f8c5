package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A SpecialError is about something that must not be replaced by a file. A rename would
// replace a device node as readily as an old file.
type SpecialError struct {
	Path string
	Mode fs.FileMode
}

func (e *SpecialError) Error() string {
	return e.Path + ": want a regular file or a new name, found " + e.Kind()
}

// Kind returns what is there, as in "a block device".
func (e *SpecialError) Kind() string { return Kind(e.Mode) }

// Replaceable returns a SpecialError unless a file may be put at path: there must be nothing
// yet, or a regular file, or a symbolic link, which is only a name.
func Replaceable(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || st.Mode().IsRegular() || st.Mode()&fs.ModeSymlink != 0 {
		return err
	}
	return &SpecialError{path, st.Mode()}
}

// replaceableIn is Replaceable for a name in an open directory.
func replaceableIn(dir *os.File, name string) error {
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil // most likely there is nothing; if not, the rename fails
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFLNK {
		return Replaceable(filepath.Join(dir.Name(), name))
	}
	return nil
}

// maxLinks is how many symbolic links are followed, as by the kernel.
const maxLinks = 40

// FollowLinks returns the path that name leads to if it is a symbolic link, whether or not
// there is a file. As the kernel does with fs.protected_symlinks, it refuses a link that
// another user made in a directory such as /tmp. Links in /proc/PID/fd aren't followed,
// since their text is no path.
func FollowLinks(name string) (string, error) {
	path := name
	for range maxLinks {
		dir, base := filepath.Split(path)
		if base == "" { // "dir/": the kernel's answer will be good enough
			return path, nil
		}
		// Not path.Clean: ".." after a link leads elsewhere.
		dir, err := filepath.EvalSymlinks(dir + ".")
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, base)
		target, owner, err := readLink(path)
		if err != nil || strings.HasPrefix(path, "/proc/") {
			return path, nil
		}
		if err := mayUse(dir, owner, "a symbolic link"); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		if !filepath.IsAbs(target) {
			target = dir + "/" + target
		}
		path = target
	}
	return "", &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

// readLink returns the text and the owner of a symbolic link.
func readLink(path string) (target string, owner uint32, err error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", 0, unix.EINVAL
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", 0, err
	}
	return string(buf[:n]), st.Uid, nil
}

// mayUse refuses a link or a pipe in a sticky directory that everybody may write to, unless
// it belongs to this user or to the owner of the directory.
func mayUse(dir string, owner uint32, what string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	const everybodys = unix.S_ISVTX | unix.S_IWOTH
	if st.Mode&everybodys != everybodys || owner == uint32(os.Geteuid()) || owner == st.Uid {
		return nil
	}
	return &PlantedError{what, owner}
}

// A PlantedError is about a symbolic link or a pipe that another user made where everybody
// may, as in /tmp. It is fs.ErrPermission too.
type PlantedError struct {
	What  string // "a symbolic link" or "a pipe"
	Owner uint32
}

func (e *PlantedError) Error() string {
	return fmt.Sprintf("it is %s that user %d made in a directory that everybody may write to", e.What, e.Owner)
}

func (e *PlantedError) Unwrap() error { return fs.ErrPermission }
