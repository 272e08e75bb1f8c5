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

// A process holds a shared lock on whatever it makes under a temporary name. Whatever can
// be locked exclusively was left over: its process was killed, or the machine lost power.

// tempPrefix begins the temporary names of files.
const tempPrefix = ".tmp-composefs-"

// Sweep removes the temporary files that killed processes of this user left in dir. A
// program calls it before it writes into a directory that a user has named.
func Sweep(dir *os.File) {
	eachLeftover(dir, tempPrefix, unix.S_IFREG, func(name string) { _ = unix.Unlinkat(int(dir.Fd()), name, 0) })
}

// eachLeftover calls remove for each name in a directory that begins with the prefix and
// whose file has the type, belongs to this user and isn't locked. Files that can't be opened
// stay, since they do no harm.
func eachLeftover(dir *os.File, prefix string, kind uint32, remove func(name string)) {
	list, err := OpenPlain(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer list.Close()
	names, _ := list.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		f, err := OpenPlain(dir, name, Anything)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		ours := unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == kind && st.Uid == uint32(os.Geteuid())
		if free, err := TryLock(f, true); ours && free && err == nil {
			remove(name)
		}
		f.Close()
	}
}

// holdName locks something that was just made in dir, and reports whether it still has its
// name then: another process may have taken it for a leftover. On a file system without
// locks nothing is ever taken for one.
func holdName(dir *os.File, name string, f *os.File) bool {
	if Lock(f, false) != nil {
		return true
	}
	var st, there unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || unix.Fstatat(int(dir.Fd()), name, &there, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	return st.Dev == there.Dev && st.Ino == there.Ino
}

// A ScratchDir is a directory for temporary files, which other processes don't sweep.
type ScratchDir struct {
	Path string
	lock *os.File
}

// NewScratchDir makes a directory in parent whose name begins with prefix. It first removes
// directories with that prefix that killed processes left behind.
func NewScratchDir(parent, prefix string) (*ScratchDir, error) {
	dir, err := OpenDir(parent)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	eachLeftover(dir, prefix, unix.S_IFDIR, func(name string) { _ = os.RemoveAll(filepath.Join(parent, name)) })
	for range maxNames {
		path, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return nil, fmt.Errorf("make a directory for temporary files: %w", err)
		}
		lock, err := OpenDir(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if holdName(dir, filepath.Base(path), lock) {
			return &ScratchDir{path, lock}, nil
		}
		lock.Close()
	}
	return nil, fmt.Errorf("make a directory for temporary files in %s: another process removes it every time", parent)
}

// Remove removes the directory and everything in it.
func (s *ScratchDir) Remove() error {
	return errors.Join(os.RemoveAll(s.Path), s.lock.Close())
}
