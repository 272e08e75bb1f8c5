package dumpfile

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// typeBits maps a kind to the file type of a mode.
var typeBits = [...]uint64{
	tree.Regular: 0o100000, tree.Directory: 0o040000, tree.CharDevice: 0o020000, tree.BlockDevice: 0o060000,
	tree.FIFO: 0o010000, tree.Socket: 0o140000, tree.Symlink: 0o120000,
}

// Write writes the tree as text, depth first, in order of names. Of the names of a file, the
// first in this order gets the file itself, and the others are hard links to it. The tree
// must pass tree.Check.
//
// C and Strict write what composefs-info 1.0.8 prints for an image. Sizes and link counts
// come from the nodes, except that devices, pipes and sockets have no size. Rust refuses
// trees that its Parse couldn't read.
//
// With names of files at the top, only the root, these files and everything below them are
// written. The lines are the same as in the dump of the whole tree, except that another name
// of a file may be the first.
func (d Dialect) Write(w io.Writer, root *tree.Node, only ...string) error {
	linked := tree.Linked(root)
	b := &dumper{w: bufio.NewWriterSize(w, 64<<10), names: linked, first: make(map[*tree.Node]string, len(linked))}
	if d == Rust {
		b.appendLine = b.appendRustLine
	} else {
		b.shared, b.appendLine = countXattrs(root), b.appendCLine
	}
	if err := b.tree(root, only); err != nil {
		return fmt.Errorf("write dump file: %w", err)
	}
	if err := b.w.Flush(); err != nil {
		return fmt.Errorf("write dump file: %w", err)
	}
	return nil
}

type dumper struct {
	w          *bufio.Writer
	appendLine func(b []byte, n *tree.Node, first string) ([]byte, error) // first: of a hard link's names; or ""
	shared     *xattrCounts                                               // not for Rust
	names      map[*tree.Node]uint32                                      // nodes with several names → how many
	first      map[*tree.Node]string                                      // those met → the first path, escaped
	path       []byte                                                     // of the current file, escaped; empty for the root
	length     int                                                        // of that path without escapes
	buf        []byte
}

// tree writes all lines.
func (d *dumper) tree(root *tree.Node, only []string) error {
	if len(only) == 0 {
		return d.entry(tree.Entry{Node: root})
	}
	if err := d.writeLine(root); err != nil {
		return err
	}
	for _, e := range root.Entries() {
		if slices.Contains(only, e.Name) {
			if err := d.entry(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry writes the line of one name, and if it is a directory, the lines of everything
// below.
func (d *dumper) entry(e tree.Entry) error {
	start := len(d.path)
	if e.Name != "" {
		d.path = appendEscaped(append(d.path, '/'), e.Name, false)
		d.length += 1 + len(e.Name)
		defer func() { d.path, d.length = d.path[:start], d.length-1-len(e.Name) }()
	}
	if err := d.writeLine(e.Node); err != nil {
		return err
	}
	if e.Node.Kind == tree.Directory {
		for _, child := range e.Node.Entries() {
			if err := d.entry(child); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dumper) writeLine(n *tree.Node) error {
	first := ""
	if _, several := d.names[n]; several {
		if first = d.first[n]; first == "" {
			d.first[n] = string(d.path)
		}
	}
	b := append(d.buf[:0], d.path...)
	if len(d.path) == 0 {
		b = append(b, '/')
	}
	b, err := d.appendLine(append(b, ' '), n, first)
	if err != nil {
		return err
	}
	d.buf = append(b, '\n')
	_, err = d.w.Write(d.buf)
	return err
}

// appendCLine appends everything in a line except the path.
func (d *dumper) appendCLine(b []byte, n *tree.Node, first string) ([]byte, error) {
	size := n.Size
	if n.Kind != tree.Regular && n.Kind != tree.Directory && n.Kind != tree.Symlink {
		size = 0
	}
	b = appendNumbers(b, n, size, n.Nlink, first != "")
	b = append(b, ' ')
	switch {
	case first != "":
		b = append(b, first...)
	case n.Kind == tree.Symlink:
		b = appendOptional(b, n.Target)
	case isExternal(n):
		b = appendOptional(b, n.Payload)
	default:
		b = append(b, '-')
	}
	b = appendOptional(append(b, ' '), n.Inline)
	b = append(b, ' ')
	if isExternal(n) {
		b = appendDigest(b, n.Object)
	} else {
		b = append(b, '-')
	}
	return d.shared.appendXattrs(b, n), nil
}

func appendDigest(b []byte, d verity.Digest) []byte {
	if d.IsZero() {
		return append(b, '-')
	}
	var sum [64]byte
	return hex.AppendEncode(b, d.AppendBytes(sum[:0]))
}

// isExternal reports whether a file's content is an object.
func isExternal(n *tree.Node) bool {
	return n.Kind == tree.Regular && len(n.Inline) == 0 && n.Size > 0
}

// appendNumbers appends the fields from SIZE to MTIME.
func appendNumbers(b []byte, n *tree.Node, size uint64, nlink uint32, isLink bool) []byte {
	b = append(strconv.AppendUint(b, size, 10), ' ')
	if isLink {
		b = append(b, '@')
	}
	b = strconv.AppendUint(b, typeBits[n.Kind]|uint64(n.Perm), 8)
	for _, v := range [...]uint32{nlink, n.UID, n.GID, n.Rdev} {
		b = strconv.AppendUint(append(b, ' '), uint64(v), 10)
	}
	b = strconv.AppendInt(append(b, ' '), n.Mtime.Sec, 10)
	return strconv.AppendUint(append(b, '.'), uint64(n.Mtime.Nsec), 10)
}

// appendOptional appends a field that may be unset; a lone "-" in it is escaped.
func appendOptional[T string | []byte](b []byte, s T) []byte {
	if len(s) == 0 {
		return append(b, '-')
	}
	if len(s) == 1 && s[0] == '-' {
		return append(b, `\x2d`...)
	}
	return appendEscaped(b, s, false)
}
