package listing

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// Write writes a line for each name but the root, as composefs-info ls does:
//
//	/bin	-> usr/bin
//	/usr/
//	/usr/sh	@ 2d/7116…
//
// A directory is followed by a slash and a tab. Of a file with several names, only the
// first is followed by what it is.
func Write(w io.Writer, root *tree.Node) error {
	out := bufio.NewWriter(w)
	met := map[*tree.Node]bool{}
	for n := range tree.Linked(root) {
		met[n] = false
	}
	var line []byte
	for path, e := range tree.Walk(root) {
		if e.Name == "" {
			continue
		}
		line = appendVisible(line[:0], path, false)
		if again, several := met[e.Node]; !again {
			line = appendSuffix(line, e.Node)
			if several {
				met[e.Node] = true
			}
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

func appendSuffix(line []byte, n *tree.Node) []byte {
	switch {
	case n.Kind == tree.Directory:
		return append(line, "/\t"...)
	case n.Kind == tree.Symlink:
		return appendVisible(append(line, "\t-> "...), n.Target, true)
	case n.Kind == tree.Regular && n.Payload != "":
		return appendVisible(append(line, "\t@ "...), n.Payload, true)
	}
	return line
}

// appendVisible appends s, with escapes for bytes that aren't printable ASCII.
func appendVisible(b []byte, s string, escapeSpace bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c > '~' || c == ' ' && escapeSpace:
			b = hex.AppendEncode(append(b, `\x`...), []byte{c})
		default:
			b = append(b, c)
		}
	}
	return b
}

// A File describes one name in an image, for programs.
type File struct {
	Path     string            `json:"path"`
	Type     string            `json:"type"`
	Mode     string            `json:"mode"` // octal, without the type
	UID      uint32            `json:"uid"`
	GID      uint32            `json:"gid"`
	Size     *uint64           `json:"size,omitempty"`
	Mtime    string            `json:"mtime"` // seconds since 1970, with nine decimals
	Device   string            `json:"device,omitempty"`
	Target   string            `json:"target,omitempty"`
	Content  []byte            `json:"content,omitempty"` // if it is in the image; base64
	Object   string            `json:"object,omitempty"`  // path in the object store
	Digest   *verity.Digest    `json:"digest,omitempty"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"` // base64
	HardLink string            `json:"hard-link,omitempty"`
}

var typeNames = [...]string{
	tree.Regular: "file", tree.Directory: "directory", tree.CharDevice: "character-device", tree.BlockDevice: "block-device",
	tree.FIFO: "fifo", tree.Socket: "socket", tree.Symlink: "symlink",
}

// Files describes each name. Of a file with several names, the first in order is
// the file and the others are hard links to it.
func Files(root *tree.Node) []File {
	files := []File{}
	first := map[*tree.Node]string{}
	linked := tree.Linked(root)
	for path, e := range tree.Walk(root) {
		f := describeFile(path, e.Node)
		if _, several := linked[e.Node]; several {
			if f.HardLink = first[e.Node]; f.HardLink == "" {
				first[e.Node] = path
			}
		}
		files = append(files, f)
	}
	return files
}

func describeFile(path string, n *tree.Node) File {
	f := File{
		Path: path, Type: typeNames[n.Kind], Mode: fmt.Sprintf("%04o", n.Perm), UID: n.UID, GID: n.GID,
		Mtime: fmt.Sprintf("%d.%09d", n.Mtime.Sec, n.Mtime.Nsec), Target: n.Target, Content: n.Inline, Object: n.Payload,
	}
	switch n.Kind {
	case tree.Regular:
		f.Size = &n.Size
	case tree.CharDevice, tree.BlockDevice:
		f.Device = fmt.Sprintf("%d:%d", n.Rdev>>8&0xfff, n.Rdev&0xff|n.Rdev>>12&^0xff)
	}
	if !n.Object.IsZero() {
		f.Digest = &n.Object
	}
	for _, x := range n.Xattrs() {
		if f.Xattrs == nil {
			f.Xattrs = map[string][]byte{}
		}
		f.Xattrs[x.Name] = x.Value
	}
	return f
}
