package directory

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/tree"
)

// An xattrFile is a file whose extended attributes can be read: an open file, or the path of
// one that can't be opened, or not without side effects: a symlink, a device, a FIFO.
type xattrFile struct {
	fd   int
	path string // if set, instead of fd
}

// entryOf returns the file called name in the directory dirfd.
func entryOf(dirfd int, name string) xattrFile {
	return xattrFile{path: "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name}
}

func (a xattrFile) list(b []byte) (int, error) {
	if a.path == "" {
		return unix.Flistxattr(a.fd, b)
	}
	return unix.Llistxattr(a.path, b)
}

func (a xattrFile) get(name string, b []byte) (int, error) {
	if a.path == "" {
		return unix.Fgetxattr(a.fd, name, b)
	}
	return unix.Lgetxattr(a.path, name, b)
}

// xattrMax is the kernel's limit for a value and for a list of names, in bytes.
const xattrMax = 64 << 10

// readXattrs adds a file's extended attributes to its node.
func (w *worker) readXattrs(n *tree.Node, file xattrFile) error {
	if w.opts.SkipXattrs {
		return nil
	}
	names, value := w.scratch[:xattrMax], w.scratch[xattrMax:2*xattrMax]
	size, err := file.list(names)
	if errors.Is(err, unix.ENOTSUP) || size == 0 && err == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for raw := range bytes.SplitSeq(bytes.TrimSuffix(names[:size], []byte{0}), []byte{0}) {
		name := w.arena.Name(raw)
		if w.opts.UserXattrs && !strings.HasPrefix(name, "user.") {
			continue
		}
		size, err := file.get(name, value)
		if errors.Is(err, unix.ENODATA) {
			return ErrChanged
		}
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
		n.SetXattr(name, w.arena.Value(value[:size]))
	}
	return nil
}
