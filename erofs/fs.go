package erofs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ErrNoContent is the cause if a file is read whose content is an object, which isn't in
// the image.
var ErrNoContent = errors.New("the content isn't in the image, but in the object store")

// symlinksMax is how many symlinks are followed in one path, as in Linux.
const symlinksMax = 40

// FS returns the image's tree as a file system. Symlinks lead to files in the image only: an
// absolute target starts at its root. Files whose content is an object can be opened, but
// reading them returns ErrNoContent. The Sys of a FileInfo is the *tree.Node.
func (m *Image) FS() (fs.ReadLinkFS, error) {
	root, err := m.Tree()
	if err != nil {
		return nil, err
	}
	return imageFS{root}, nil
}

// imageFS is a tree as fs.FS, fs.StatFS, fs.ReadDirFS and fs.ReadLinkFS.
type imageFS struct{ root *tree.Node }

// find returns the file called name. It follows a symlink at the end only if told to.
func (f imageFS) find(op, name string, followLast bool) (*tree.Node, error) {
	fault := func(err error) (*tree.Node, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fault(fs.ErrInvalid)
	}
	dirs := []*tree.Node{f.root} // from the root to the current one
	node, rest, links := f.root, name, 0
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		dir := dirs[len(dirs)-1]
		switch part {
		case "", ".":
			node = dir
			continue
		case "..":
			dirs = dirs[:max(1, len(dirs)-1)]
			node = dirs[len(dirs)-1]
			continue
		}
		if node = dir.Lookup(part); node == nil {
			return fault(fs.ErrNotExist)
		}
		switch {
		case node.Kind == tree.Directory:
			dirs = append(dirs, node)
		case node.Kind == tree.Symlink && (rest != "" || followLast):
			if links++; links > symlinksMax {
				return fault(errors.New("too many symlinks"))
			}
			if strings.HasPrefix(node.Target, "/") {
				dirs = dirs[:1]
			}
			rest, node = node.Target+"/"+rest, dirs[len(dirs)-1]
		case rest != "" && strings.Trim(rest, "/") != "":
			return fault(fs.ErrNotExist)
		}
	}
	return node, nil
}

func (f imageFS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	file := &openFile{info: fileInfo{path.Base(name), n}, path: name}
	if n.Kind == tree.Directory {
		return &openDir{openFile: file}, nil
	}
	return file, nil
}

func (f imageFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

func (f imageFS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

func (f imageFS) ReadLink(name string) (string, error) {
	n, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.Kind != tree.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Target, nil
}

func (f imageFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if n.Kind != tree.Directory {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return dirEntries(n.Entries()), nil
}

func dirEntries(entries []tree.Entry) []fs.DirEntry {
	list := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		list[i] = fs.FileInfoToDirEntry(fileInfo{e.Name, e.Node})
	}
	return list
}

// fileInfo is a node with a name, as fs.FileInfo.
type fileInfo struct {
	name string
	node *tree.Node
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(min(i.node.Size, 1<<63-1)) }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.node.Mtime.Sec, int64(i.node.Mtime.Nsec)) }
func (i fileInfo) IsDir() bool        { return i.node.Kind == tree.Directory }
func (i fileInfo) Sys() any           { return i.node }

// modeBits maps a kind to fs's type bits.
var modeBits = [...]fs.FileMode{
	tree.Directory: fs.ModeDir, tree.CharDevice: fs.ModeDevice | fs.ModeCharDevice, tree.BlockDevice: fs.ModeDevice,
	tree.FIFO: fs.ModeNamedPipe, tree.Socket: fs.ModeSocket, tree.Symlink: fs.ModeSymlink,
}

func (i fileInfo) Mode() fs.FileMode {
	mode := modeBits[i.node.Kind] | fs.FileMode(i.node.Perm)&fs.ModePerm
	for bit, m := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if i.node.Perm&bit != 0 {
			mode |= m
		}
	}
	return mode
}

// openFile is an open file that isn't a directory.
type openFile struct {
	info fileInfo
	path string
	off  int64
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

func (f *openFile) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *openFile) ReadAt(b []byte, off int64) (int, error) {
	switch n := f.info.node; {
	case isExternal(n):
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: ErrNoContent}
	case off < 0:
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: fs.ErrInvalid}
	case off >= int64(len(n.Inline)):
		return 0, io.EOF
	default:
		copied := copy(b, n.Inline[off:])
		if copied < len(b) {
			return copied, io.EOF
		}
		return copied, nil
	}
}

// openDir is an open directory.
type openDir struct {
	*openFile
	next int
}

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(count int) ([]fs.DirEntry, error) {
	rest := d.info.node.Entries()[d.next:]
	if count > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if count > 0 {
		rest = rest[:min(count, len(rest))]
	}
	d.next += len(rest)
	return dirEntries(rest), nil
}
