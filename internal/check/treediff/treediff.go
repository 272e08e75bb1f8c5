package treediff

import (
	"fmt"
	"iter"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/printable"
)

// A Difference is one attribute of one path, or of the image as a whole. A and B are its
// values in words, empty where there is none.
type Difference struct {
	Path      string `json:"path"`      // "" for the image
	Attribute string `json:"attribute"` // Name, Type, HardLink, "mode", …, "xattr user.note"
	A         string `json:"a"`
	B         string `json:"b"`
}

// Attributes of a path rather than of the file there.
const (
	Name     = "name"      // the path is in one tree only; the value is what it is there
	Type     = "type"      // nothing else of the path is compared
	HardLink = "hard link" // the value is the first path of the same file, if this isn't it
)

// Attributes of an image as a whole, which its tree doesn't have.
const (
	Format = "format"
	Bytes  = "bytes" // equal trees in one format, written differently
)

// String returns the difference as a sentence without its full stop.
func (d Difference) String() string {
	path := printable.Quoted(d.Path)
	switch {
	case d.Path == "":
		path = "image"
	case d.Attribute == Name && d.B == "":
		return fmt.Sprintf("%s: only in A, a %s", path, d.A)
	case d.Attribute == Name:
		return fmt.Sprintf("%s: only in B, a %s", path, d.B)
	}
	return fmt.Sprintf("%s: %s %s in A, %s in B", path, d.Attribute, orNone(d.A), orNone(d.B))
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// Trees returns the differences between two trees, in the order of a walk. If a directory
// is in one tree only, the names below it aren't listed.
func Trees(a, b *tree.Node) iter.Seq[Difference] {
	return func(yield func(Difference) bool) {
		c := &comparison{originalsA: originals(a), originalsB: originals(b), yield: yield}
		if c.file("/", tree.Entry{Node: a}, tree.Entry{Node: b}) {
			c.directory("", a, b)
		}
	}
}

// originals returns the paths of the originals of files with several names.
func originals(root *tree.Node) map[*tree.Node]string {
	paths := map[*tree.Node]string{}
	linked := tree.Linked(root)
	if len(linked) == 0 {
		return paths
	}
	for path, e := range tree.Walk(root) {
		if _, several := linked[e.Node]; several && !e.Link {
			paths[e.Node] = path
		}
	}
	return paths
}

// A comparison is one walk through two trees. Its methods report whether to go on.
type comparison struct {
	originalsA, originalsB map[*tree.Node]string
	yield                  func(Difference) bool
}

// directory compares what is in two directories.
func (c *comparison) directory(path string, a, b *tree.Node) bool {
	ea, eb := a.Entries(), b.Entries()
	for len(ea) > 0 || len(eb) > 0 {
		ok := true
		switch {
		case len(eb) == 0 || len(ea) > 0 && ea[0].Name < eb[0].Name:
			ok = c.yield(Difference{Path: path + "/" + ea[0].Name, Attribute: Name, A: describe(ea[0].Node)})
			ea = ea[1:]
		case len(ea) == 0 || eb[0].Name < ea[0].Name:
			ok = c.yield(Difference{Path: path + "/" + eb[0].Name, Attribute: Name, B: describe(eb[0].Node)})
			eb = eb[1:]
		default:
			ok = c.entry(path+"/"+ea[0].Name, ea[0], eb[0])
			ea, eb = ea[1:], eb[1:]
		}
		if !ok {
			return false
		}
	}
	return true
}

// entry compares what a name stands for in both trees, and what is below.
func (c *comparison) entry(path string, a, b tree.Entry) bool {
	if a.Node.Kind != b.Node.Kind {
		return c.yield(Difference{path, Type, kindNames[a.Node.Kind], kindNames[b.Node.Kind]})
	}
	return c.file(path, a, b) && (a.Node.Kind != tree.Directory || c.directory(path, a.Node, b.Node))
}

// file compares the attributes of two files of the same kind.
func (c *comparison) file(path string, a, b tree.Entry) bool {
	linkA, linkB := linkTarget(a, c.originalsA), linkTarget(b, c.originalsB)
	if linkA != linkB && !c.yield(Difference{path, HardLink, linkA, linkB}) {
		return false
	}
	if a.Link && b.Link {
		return true // the originals are compared
	}
	for _, row := range attributes {
		if !row.same(a.Node, b.Node) && !c.yield(Difference{path, row.name, row.show(a.Node), row.show(b.Node)}) {
			return false
		}
	}
	return c.xattrs(path, a.Node.Xattrs(), b.Node.Xattrs())
}

func linkTarget(e tree.Entry, originals map[*tree.Node]string) string {
	if !e.Link {
		return ""
	}
	return "to " + printable.Quoted(originals[e.Node])
}

// xattrs compares two lists in ascending order of names.
func (c *comparison) xattrs(path string, a, b []tree.Xattr) bool {
	for len(a) > 0 || len(b) > 0 {
		d := Difference{Path: path}
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			d.Attribute, d.A, a = xattrAttribute(a[0]), quote(a[0].Value), a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			d.Attribute, d.B, b = xattrAttribute(b[0]), quote(b[0].Value), b[1:]
		default:
			if string(a[0].Value) != string(b[0].Value) {
				d.Attribute, d.A, d.B = xattrAttribute(a[0]), quote(a[0].Value), quote(b[0].Value)
			}
			a, b = a[1:], b[1:]
		}
		if d.Attribute != "" && !c.yield(d) {
			return false
		}
	}
	return true
}

func xattrAttribute(x tree.Xattr) string { return "xattr " + printable.Quoted(x.Name) }
