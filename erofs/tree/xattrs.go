package tree

import (
	"slices"
	"strings"
)

// Xattrs returns the node's extended attributes in ascending order of their full
// names' bytes. The slice belongs to the node.
func (n *Node) Xattrs() []Xattr { return n.xattrs }

func (n *Node) findXattr(name string) (int, bool) {
	return slices.BinarySearchFunc(n.xattrs, name, func(x Xattr, s string) int { return strings.Compare(x.Name, s) })
}

// Xattr returns the value of an extended attribute and whether there is one.
func (n *Node) Xattr(name string) ([]byte, bool) {
	i, ok := n.findXattr(name)
	if !ok {
		return nil, false
	}
	return n.xattrs[i].Value, true
}

// SetXattr adds or replaces an extended attribute. It keeps value.
func (n *Node) SetXattr(name string, value []byte) {
	i, ok := n.findXattr(name)
	if ok {
		n.xattrs[i].Value = value
		return
	}
	n.xattrs = slices.Insert(n.xattrs, i, Xattr{name, value})
}

// SetXattrs replaces all extended attributes by the ones in list, whose names must differ.
// It keeps list and sorts it.
func (n *Node) SetXattrs(list []Xattr) {
	byName := func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(list, byName) {
		slices.SortFunc(list, byName)
	}
	n.xattrs = list
}

// RemoveXattr removes an extended attribute if the node has it.
func (n *Node) RemoveXattr(name string) {
	if i, ok := n.findXattr(name); ok {
		n.xattrs = slices.Delete(n.xattrs, i, i+1)
	}
}

// FilterXattrs keeps only the extended attributes for whose names keep returns true.
func (n *Node) FilterXattrs(keep func(name string) bool) {
	n.xattrs = slices.DeleteFunc(n.xattrs, func(x Xattr) bool { return !keep(x.Name) })
}
