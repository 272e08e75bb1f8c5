package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What Check allows at most, in bytes unless stated otherwise. DepthMax keeps
// whatever walks a tree from running out of stack; no path that deep can be named
// in one system call.
const (
	XattrNameMax  = 255
	XattrValueMax = 65535
	TargetMax     = 4095 // of a symlink
	PayloadMax    = 4095
	ContentMax    = 5000 // of content that is in the image
	DepthMax      = 4096 // directories
)

// ErrInvalid is the cause if a tree can't be a file system.
var ErrInvalid = errors.New("invalid tree")

// Check returns an error for the first part of the tree that no image can hold: an invalid
// name or size, a node in two places without being a hard link, a hard link to a file
// outside the tree. Errors wrap ErrInvalid and name the path.
func Check(root *Node) error {
	if root == nil || root.Kind != Directory {
		return fmt.Errorf("%w: the root must be a directory", ErrInvalid)
	}
	c := checker{originals: map[*Node]struct{}{root: {}}}
	err := checkNode(root)
	if err == nil {
		err = c.dir(root, 1)
	}
	if err != nil {
		slices.Reverse(c.path)
		return fmt.Errorf("%w: %q: %w", ErrInvalid, "/"+strings.Join(c.path, "/"), err)
	}
	return c.links(root)
}

// A checker remembers the files that a walk has visited.
type checker struct {
	originals map[*Node]struct{}
	linked    []*Node  // targets of hard links, whose originals may still come
	path      []string // names of the faulty file and its directories, innermost first
}

func (c *checker) dir(n *Node, depth int) error {
	if depth > DepthMax {
		return fmt.Errorf("directories are nested more than %d deep", DepthMax)
	}
	for _, e := range n.Entries() {
		if err := c.entry(e, depth); err != nil {
			c.path = append(c.path, e.Name)
			return err
		}
	}
	return nil
}

func (c *checker) entry(e Entry, depth int) error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.Node == nil {
		return errors.New("the name stands for no file")
	}
	if e.Link {
		if e.Node.Kind == Directory {
			return errors.New("a hard link to a directory")
		}
		c.linked = append(c.linked, e.Node)
		return nil
	}
	before := len(c.originals)
	if c.originals[e.Node] = struct{}{}; len(c.originals) == before {
		return errors.New("the file is also at another place in the tree, and not as a hard link")
	}
	if err := checkNode(e.Node); err != nil {
		return err
	}
	if e.Node.Kind != Directory {
		return nil
	}
	return c.dir(e.Node, depth+1)
}

// links checks that the originals of all hard links are in the tree.
func (c *checker) links(root *Node) error {
	outside := func(n *Node) bool { _, ok := c.originals[n]; return !ok }
	if !slices.ContainsFunc(c.linked, outside) {
		return nil
	}
	for path, e := range Walk(root) {
		if e.Link && outside(e.Node) {
			return fmt.Errorf("%w: %q: the original of this hard link is not in the tree", ErrInvalid, path)
		}
	}
	return nil
}

// checkNode checks the fields of a node.
func checkNode(n *Node) error {
	for i := range n.xattrs {
		if err := checkXattr(&n.xattrs[i]); err != nil {
			return err
		}
	}
	switch {
	case n.Kind < Regular || n.Kind > Symlink:
		return fmt.Errorf("unknown kind %d", n.Kind)
	case n.Perm&^0o7777 != 0:
		return fmt.Errorf("permissions %#o have bits outside 07777", n.Perm)
	case n.Kind != Directory && n.Len() > 0:
		return errors.New("not a directory, but has children")
	case n.Kind == Symlink:
		return checkText("symlink target", n.Target, 1, TargetMax)
	case n.Kind == Regular:
		return checkRegular(n)
	}
	return nil
}

func checkRegular(n *Node) error {
	if len(n.Inline) == 0 {
		return checkText("payload", n.Payload, 0, PayloadMax)
	}
	if len(n.Inline) > ContentMax {
		return fmt.Errorf("%d bytes of content in the image, at most %d are allowed", len(n.Inline), ContentMax)
	}
	if uint64(len(n.Inline)) != n.Size {
		return fmt.Errorf("the size is %d, and there are %d bytes of content", n.Size, len(n.Inline))
	}
	return nil
}

func checkXattr(x *Xattr) error {
	if len(x.Value) > XattrValueMax {
		return fmt.Errorf("extended attribute %q has a value of %d bytes, at most %d are allowed", x.Name, len(x.Value), XattrValueMax)
	}
	return checkText("name of an extended attribute", x.Name, 1, XattrNameMax)
}

func checkText(what, s string, least, most int) error {
	if len(s) < least || len(s) > most {
		return fmt.Errorf("%s: want %d to %d bytes, found %d", what, least, most, len(s))
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s: NUL in %q", what, s)
	}
	return nil
}
