package directory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/tree"
)

// An attributed is a file whose extended attributes can be read.
type attributed struct {
	list func(dest []byte) (int, error)
	get  func(name string, dest []byte) (int, error)
}

// openFile reads the attributes of an open file or directory.
func openFile(fd int) attributed {
	return attributed{
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
	}
}

// entryOf reads the attributes of what can't be opened without side effects or
// at all: a symlink, a device, a FIFO.
func entryOf(dirfd int, name string) attributed {
	path := "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name
	return attributed{
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) },
	}
}

// readXattrs adds a file's extended attributes to its node.
func (s *scan) readXattrs(n *tree.Node, file attributed) error {
	if s.opts.SkipXattrs {
		return nil
	}
	names, err := growing(file.list)
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 && err == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if s.opts.UserXattrs && !strings.HasPrefix(name, "user.") {
			continue
		}
		value, err := growing(func(b []byte) (int, error) { return file.get(name, b) })
		if errors.Is(err, unix.ENODATA) {
			return ErrChanged
		}
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
		n.SetXattr(name, value)
	}
	return nil
}

// xattrMax is the kernel's limit of a value and of a list of names, in bytes.
const xattrMax = 64 << 10

// growing calls read with a small buffer first, and if that isn't enough with one
// that always is.
func growing(read func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 256)
	n, err := read(b)
	if errors.Is(err, unix.ERANGE) {
		b = make([]byte, xattrMax)
		n, err = read(b)
	}
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), b[:n]...), nil
}
