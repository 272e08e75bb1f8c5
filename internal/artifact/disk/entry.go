package disk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// An Entry is a file, directory or symlink of a partition. Directories that only appear
// in paths of other entries need no entry of their own: they get mode 0755 and belong to
// root.
type Entry struct {
	Path     string      // relative to the root of the partition, of any bytes but NUL and line ends
	Mode     fs.FileMode // fs.ModeDir, fs.ModeSymlink or a regular file; permissions, setuid, setgid, sticky
	UID, GID uint32
	Size     int64                         // of a regular file, in bytes
	Open     func() (io.ReadCloser, error) // content of a regular file, exactly Size bytes
	Target   string                        // of a symlink
	Digest   verity.Digest                 // if not zero, the content must have this digest
	Verity   bool                          // the file has fs-verity enabled; needs Digest
}

// ErrEntry is the cause when the description of a partition makes no sense.
var ErrEntry = errors.New("can't put this into a disk image")

// Bytes returns a function for Entry.Open that opens content in memory.
func Bytes(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// Limits of ext4 and of the length of a line that debugfs reads.
const (
	maxName   = 255
	maxPath   = 2048
	maxTarget = 1024
)

// isPath is fs.ValidPath for names of any bytes, but for the root itself.
func isPath(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

func (e Entry) check() error {
	switch {
	case !isPath(e.Path):
		return fmt.Errorf("%w: %q is not a path below the root of the partition", ErrEntry, e.Path)
	case len(e.Path) > maxPath || len(path.Base(e.Path)) > maxName:
		return fmt.Errorf("%w: the path %.60q… is too long", ErrEntry, e.Path)
	case strings.ContainsAny(e.Path+e.Target, "\n\r\x00"):
		return fmt.Errorf("%w: %q has a line end or NUL in its name or target", ErrEntry, e.Path)
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		return nil
	case fs.ModeSymlink:
		if e.Target == "" || len(e.Target) > maxTarget {
			return fmt.Errorf("%w: symlink %q wants a target of 1 to %d bytes, found %d", ErrEntry, e.Path, maxTarget, len(e.Target))
		}
		return nil
	case 0:
		if e.Size < 0 || e.Open == nil {
			return fmt.Errorf("%w: file %q has no content or a negative size", ErrEntry, e.Path)
		}
		return nil
	}
	return fmt.Errorf("%w: %q is a %s; want a file, a directory or a symlink", ErrEntry, e.Path, e.Mode.Type())
}

// complete checks the entries, adds directories that are only implied, and sorts
// everything such that directories come before their entries.
func complete(entries []Entry) ([]Entry, error) {
	all := make(map[string]fs.FileMode, len(entries))
	for _, e := range entries {
		if err := e.check(); err != nil {
			return nil, err
		}
		if _, twice := all[e.Path]; twice {
			return nil, fmt.Errorf("%w: %q is there twice", ErrEntry, e.Path)
		}
		all[e.Path] = e.Mode
	}
	out := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			mode, known := all[dir]
			if known && !mode.IsDir() {
				return nil, fmt.Errorf("%w: %q is inside %q, which is not a directory", ErrEntry, e.Path, dir)
			}
			if known {
				continue
			}
			all[dir] = fs.ModeDir | 0o755
			out = append(out, Entry{Path: dir, Mode: fs.ModeDir | 0o755})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return out, nil
}

// unixMode returns st_mode.
func (e Entry) unixMode() uint32 {
	mode := uint32(e.Mode.Perm())
	for _, bit := range []struct {
		goBit fs.FileMode
		unix  uint32
	}{
		{fs.ModeDir, 0o040000}, {fs.ModeSymlink, 0o120000},
		{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000},
	} {
		if e.Mode&bit.goBit != 0 {
			mode |= bit.unix
		}
	}
	if e.Mode.IsRegular() {
		mode |= 0o100000
	}
	return mode
}
