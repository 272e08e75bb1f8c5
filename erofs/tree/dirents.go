package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// NameMax is the longest name of a file, in bytes.
const NameMax = 255

// Causes of errors of Add and Link.
var (
	ErrName   = errors.New("invalid file name")
	ErrExists = errors.New("name exists already")
)

// An Entry is one name in a directory.
type Entry struct {
	Name string
	Node *Node
	Link bool // a further name (hard link) of a node whose original is elsewhere
}

// indexFrom is the number of children from which on a map is worth its cost.
const indexFrom = 16

// dirents holds a directory's children. They are added in any order, mostly a sorted one,
// and are sorted once, when they are needed in order.
type dirents struct {
	list     []Entry
	unsorted bool
	index    map[string]int // name → place in list; nil for few children, and after sorting
}

// CheckName returns an error if name can't be the name of a file: it is empty, ".", "..",
// longer than NameMax, or contains a slash or NUL.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w %q", ErrName, name)
	case len(name) > NameMax:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed: %.40q…", ErrName, len(name), NameMax, name)
	case strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: slash or NUL in %q", ErrName, name)
	}
	return nil
}

// Add adds a new file to the directory n; this name is its original.
func (n *Node) Add(name string, child *Node) error { return n.insert(Entry{Name: name, Node: child}) }

// Link adds a further name of a file to the directory n.
func (n *Node) Link(name string, target *Node) error {
	return n.insert(Entry{Name: name, Node: target, Link: true})
}

func (n *Node) insert(e Entry) error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if n.children == nil {
		n.children = new(dirents)
	}
	d := n.children
	if d.find(e.Name) >= 0 {
		return fmt.Errorf("%w: %q", ErrExists, e.Name)
	}
	if l := len(d.list); l > 0 && d.list[l-1].Name > e.Name {
		d.unsorted = true
	}
	if d.index != nil {
		d.index[e.Name] = len(d.list)
	}
	d.list = append(d.list, e)
	return nil
}

// find returns the place of name in the list, or -1.
func (d *dirents) find(name string) int {
	if d == nil {
		return -1
	}
	if !d.unsorted {
		return d.search(name)
	}
	if len(d.list) < indexFrom {
		for i := range d.list {
			if d.list[i].Name == name {
				return i
			}
		}
		return -1
	}
	if d.index == nil {
		d.index = make(map[string]int, 2*len(d.list))
		for i, e := range d.list {
			d.index[e.Name] = i
		}
	}
	if i, ok := d.index[name]; ok {
		return i
	}
	return -1
}

// search is find for a sorted list.
func (d *dirents) search(name string) int {
	lo, hi := 0, len(d.list)
	if hi == 0 || d.list[hi-1].Name < name { // the usual case in Add
		return -1
	}
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); d.list[mid].Name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if d.list[lo].Name != name {
		return -1
	}
	return lo
}

// Lookup returns the file called name in the directory n, or nil.
func (n *Node) Lookup(name string) *Node {
	if i := n.children.find(name); i >= 0 {
		return n.children.list[i].Node
	}
	return nil
}

// Entries returns the directory's entries in ascending order of their names' bytes. The
// slice belongs to the node. The first call after an Add may sort, so it must not run
// concurrently with another call on the same node.
func (n *Node) Entries() []Entry {
	d := n.children
	if d == nil {
		return nil
	}
	if d.unsorted {
		slices.SortFunc(d.list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		d.unsorted, d.index = false, nil
	}
	return d.list
}

// Len returns the number of entries.
func (n *Node) Len() int {
	if n.children == nil {
		return 0
	}
	return len(n.children.list)
}

// Remove removes name from the directory and reports whether it was there.
func (n *Node) Remove(name string) bool {
	d := n.children
	i := d.find(name)
	if i < 0 {
		return false
	}
	d.list, d.index = slices.Delete(d.list, i, i+1), nil
	return true
}

// Replace changes the node that name stands for, and whether it is a link. The name must
// exist.
func (n *Node) Replace(name string, node *Node, link bool) {
	if i := n.children.find(name); i >= 0 {
		n.children.list[i].Node, n.children.list[i].Link = node, link
	}
}

// Clear removes all entries from the directory.
func (n *Node) Clear() { n.children = nil }
