// Package layer makes the layer of a container image of a tree: a tar archive from which the
// same tree can be made again.
package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// ErrUnfit is the cause if a file can't be in the layer of a container image.
var ErrUnfit = errors.New("unfit for a layer of a container image")

// whiteout is how the names of files begin that hide others in lower layers.
const whiteout = ".wh."

// Write writes the layer. The same tree makes the same bytes. open opens an object; what it reads
// isn't verified here. Hard links come last, after all files that they lead to.
func Write(ctx context.Context, w io.Writer, root *tree.Node, open func(verity.Digest) (io.ReadCloser, error)) error {
	l := writer{tar: tar.NewWriter(w), open: open, names: make(map[*tree.Node]string)}
	var links []tree.Entry
	var at []string
	for name, e := range tree.Walk(root) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasPrefix(e.Name, whiteout) {
			return fmt.Errorf("%s: %w: names that begin with %s hide other files there", name, ErrUnfit, whiteout)
		}
		if e.Link {
			links, at = append(links, e), append(at, name)
			continue
		}
		if err := l.file(name, e.Node); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for i, e := range links {
		h := l.header(at[i], e.Node)
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, l.names[e.Node], 0, nil
		if err := l.tar.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", at[i], err)
		}
	}
	return l.tar.Close()
}

type writer struct {
	tar   *tar.Writer
	open  func(verity.Digest) (io.ReadCloser, error)
	names map[*tree.Node]string // of originals
}

var types = map[tree.Kind]byte{
	tree.Regular: tar.TypeReg, tree.Directory: tar.TypeDir, tree.Symlink: tar.TypeSymlink,
	tree.CharDevice: tar.TypeChar, tree.BlockDevice: tar.TypeBlock, tree.FIFO: tar.TypeFifo,
}

// header returns what all files have.
func (l *writer) header(name string, n *tree.Node) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX, Typeflag: types[n.Kind], Name: strings.TrimPrefix(name, "/"),
		Mode: int64(n.Perm), Uid: int(n.UID), Gid: int(n.GID), ModTime: time.Unix(n.Mtime.Sec, int64(n.Mtime.Nsec)),
	}
	if n.Kind == tree.Directory {
		h.Name += "/"
	}
	if name == "/" {
		h.Name = "./"
	}
	for _, x := range n.Xattrs() {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
	}
	return h
}

// file writes a file under its original name.
func (l *writer) file(name string, n *tree.Node) error {
	h := l.header(name, n)
	l.names[n] = h.Name
	switch n.Kind {
	case tree.Regular:
		h.Size = int64(n.Size)
	case tree.Symlink:
		h.Linkname = n.Target
	case tree.CharDevice, tree.BlockDevice:
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(n.Rdev))), int64(unix.Minor(uint64(n.Rdev)))
	case tree.Socket:
		return fmt.Errorf("%w: it is a socket", ErrUnfit)
	}
	if err := l.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	if n.Kind != tree.Regular || n.Size == 0 {
		return nil
	}
	return l.content(n)
}

func (l *writer) content(n *tree.Node) error {
	object := n.ContentObject()
	if object.IsZero() && uint64(len(n.Inline)) != n.Size {
		return fmt.Errorf("%w: its content isn't in the image, nor an object", ErrUnfit)
	}
	if object.IsZero() {
		_, err := l.tar.Write(n.Inline)
		return err
	}
	r, err := l.open(object)
	if err != nil {
		return err
	}
	defer r.Close()
	size, err := io.Copy(l.tar, io.LimitReader(r, int64(n.Size)+1))
	if err == nil && size < int64(n.Size) {
		err = fmt.Errorf("want %d bytes, found %d", n.Size, size)
	}
	return err
}
