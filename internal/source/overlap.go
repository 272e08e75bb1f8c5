package source

import (
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/directory"
)

// An Overlap says whether an output is in a source.
type Overlap uint8

const (
	Apart  Overlap = iota
	Same           // it is the source, or one of its files
	Inside         // it is in the directory, and the next build would read it
)

// Overlap reports whether an output at path would be in the source that an argument names.
// Nothing needs to exist at path.
func (o *Options) Overlap(arg, path string) Overlap {
	kind, operand, prefixed := Find(arg)
	switch {
	case prefixed && isOneOf(path, kind.files(operand)):
		return Same
	case prefixed:
		return Apart
	case isSame(path, arg):
		return Same
	case o.reads(arg, path):
		return Inside
	}
	return Apart
}

// reads reports whether reading the directory would read a file at path.
func (o *Options) reads(dir, path string) bool {
	top, topMount, err := identify(dir)
	if err != nil {
		return false
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return false
	}
	first := "" // the name at the top of the source that path is in
	for {
		st, mount, err := identify(path)
		switch {
		case err != nil: // it doesn't exist yet
		case os.SameFile(st, top):
			return !slices.Contains(o.Empty, first)
		case mount != topMount && o.Mounts != directory.IncludeMounts:
			return false
		}
		if path == "/" {
			return false
		}
		first, path = filepath.Base(path), filepath.Dir(path)
	}
}

// identify returns the identity of the file at a path, and the id of its mount.
func identify(path string) (os.FileInfo, uint64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	var x unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &x)
	return st, x.Mnt_id, err
}

func isSame(a, b string) bool {
	first, errA := os.Stat(a)
	second, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(first, second)
}

// isOneOf reports whether a path leads to a regular file that has one of the names.
func isOneOf(path string, names []string) bool {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	return slices.ContainsFunc(names, func(name string) bool { return isSame(path, name) })
}
