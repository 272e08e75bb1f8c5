package initrd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.ReadLinkFS
	fs.StatFS
} = (*Archive)(nil)

// lookup is like find, but returns errors of io/fs.
func (a *Archive) lookup(op, name string, follow bool) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := a.find(name, follow, new(int))
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// Open implements fs.FS.
func (a *Archive) Open(name string) (fs.File, error) {
	n, err := a.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	info := entry{path.Base(name), n}
	return &file{entry: info, Reader: bytes.NewReader(n.data), entries: n.list()}, nil
}

// Stat implements fs.StatFS.
func (a *Archive) Stat(name string) (fs.FileInfo, error) {
	n, err := a.lookup("stat", name, true)
	return entry{path.Base(name), n}, err
}

// Lstat implements fs.ReadLinkFS.
func (a *Archive) Lstat(name string) (fs.FileInfo, error) {
	n, err := a.lookup("lstat", name, false)
	return entry{path.Base(name), n}, err
}

// ReadLink implements fs.ReadLinkFS.
func (a *Archive) ReadLink(name string) (string, error) {
	n, err := a.lookup("readlink", name, false)
	if err == nil && n.mode.Type() != fs.ModeSymlink {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return "", err
	}
	return n.link, nil
}

// ReadFile implements fs.ReadFileFS.
func (a *Archive) ReadFile(name string) ([]byte, error) {
	n, err := a.lookup("read", name, true)
	if err == nil && !n.mode.IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.data), nil
}

// ReadDir implements fs.ReadDirFS.
func (a *Archive) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := a.lookup("readdir", name, true)
	if err == nil && !n.mode.IsDir() {
		err = &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	if err != nil {
		return nil, err
	}
	return n.list(), nil
}

// list returns the entries of a directory, sorted by name.
func (n *node) list() []fs.DirEntry {
	var out []fs.DirEntry
	for name, child := range n.children {
		if !child.builtin || len(child.list()) > 0 {
			out = append(out, entry{name, child})
		}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// An entry is a name with its node. It is an fs.FileInfo and an fs.DirEntry.
type entry struct {
	name string
	node *node
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return int64(len(e.node.data) + len(e.node.link)) }
func (e entry) Mode() fs.FileMode          { return e.node.mode }
func (e entry) Type() fs.FileMode          { return e.node.mode.Type() }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) IsDir() bool                { return e.node.mode.IsDir() }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) String() string             { return fs.FormatDirEntry(e) }

// file is an open file or directory.
type file struct {
	entry
	*bytes.Reader
	entries []fs.DirEntry
}

func (f *file) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f *file) Size() int64                { return f.entry.Size() }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if f.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: errors.New("is a directory")}
	}
	return f.Reader.Read(p)
}

// ReadDir implements fs.ReadDirFile.
func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	if !f.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: f.name, Err: errors.New("not a directory")}
	}
	if n <= 0 {
		n = len(f.entries)
	} else if len(f.entries) == 0 {
		return nil, io.EOF
	}
	out := f.entries[:min(n, len(f.entries))]
	f.entries = f.entries[len(out):]
	return out, nil
}
