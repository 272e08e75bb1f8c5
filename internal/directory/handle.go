package directory

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/tree"
)

// A handle is an open directory that the walker and the workers share. Files are
// opened relative to it, so that a directory that is renamed or replaced by a
// symlink meanwhile can't lead us elsewhere, and a path of any length works.
type handle struct {
	f      *os.File
	parent *handle // for the path alone; not kept open by it
	name   string
	refs   atomic.Int32
}

func newHandle(f *os.File, parent *handle) *handle {
	h := &handle{f: f, parent: parent, name: filepath.Base(f.Name())}
	if parent == nil {
		h.name = f.Name()
	}
	h.refs.Store(1)
	return h
}

func (h *handle) path() string {
	if h.parent == nil {
		return h.name
	}
	return filepath.Join(h.parent.path(), h.name)
}

func (h *handle) open(name string) (*handle, error) {
	fd, err := unix.Openat(int(h.f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", filepath.Join(h.path(), name), err)
	}
	return newHandle(os.NewFile(uintptr(fd), name), h), nil
}

func (h *handle) retain() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		h.f.Close()
	}
}

func sortByName(entries []os.DirEntry) {
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
}

func asPathError(err error, p **os.PathError) bool { return errors.As(err, p) }

// An inode identifies a file with several names.
type inode struct{ dev, ino uint64 }

// claims says which leaf reads the content of a file with several names.
type claims struct{ m sync.Map }

// claim reports whether l is the first to come.
func (c *claims) claim(id inode, l *leaf) bool {
	_, taken := c.m.LoadOrStore(id, l)
	return !taken
}

func (c *claims) of(id inode) *leaf {
	l, _ := c.m.Load(id)
	return l.(*leaf)
}

// kinds maps the type bits of st_mode.
var kinds = map[uint32]tree.Kind{
	unix.S_IFREG: tree.Regular, unix.S_IFDIR: tree.Directory, unix.S_IFLNK: tree.Symlink, unix.S_IFCHR: tree.CharDevice,
	unix.S_IFBLK: tree.BlockDevice, unix.S_IFIFO: tree.FIFO, unix.S_IFSOCK: tree.Socket,
}
