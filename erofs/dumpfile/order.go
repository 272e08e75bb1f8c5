package dumpfile

import "github.com/composefs-go/composefs/erofs/tree"

// sharedMax is the number of shared xattrs that libcomposefs stores by reference
// in one inode.
const sharedMax = 128

// xattrCounts counts the files that have an xattr. An image stores xattrs that occur once in
// the inode, and the others in a table of shared ones. composefs-info prints the inode's own
// xattrs first, so the text depends on the counts.
type xattrCounts struct {
	index  map[xattrPair]int // into counts
	counts []int
}

type xattrPair struct{ name, value string }

func countXattrs(root *tree.Node) *xattrCounts {
	c := &xattrCounts{index: make(map[xattrPair]int)}
	c.tree(root)
	// The whiteout stubs in the root of an image have the root's label.
	if label, ok := root.Xattr("security.selinux"); ok {
		c.add("security.selinux", label)
	}
	return c
}

func (c *xattrCounts) tree(n *tree.Node) {
	for _, x := range n.Xattrs() {
		c.add(x.Name, x.Value)
	}
	for _, e := range n.Entries() {
		if !e.Link {
			c.tree(e.Node)
		}
	}
}

func (c *xattrCounts) add(name string, value []byte) {
	i, ok := c.index[xattrPair{name, string(value)}] // this conversion doesn't allocate
	if !ok {
		i = len(c.counts)
		c.index[xattrPair{name, string(value)}] = i
		c.counts = append(c.counts, 0)
	}
	c.counts[i]++
}

// appendXattrs appends a file's xattrs: first its own, then the shared ones, both in order of
// names.
func (c *xattrCounts) appendXattrs(b []byte, n *tree.Node) []byte {
	for _, wantShared := range [...]bool{false, true} {
		shared := 0
		for _, x := range n.Xattrs() {
			isShared := shared < sharedMax && c.counts[c.index[xattrPair{x.Name, string(x.Value)}]] > 1
			if isShared {
				shared++
			}
			if isShared != wantShared {
				continue
			}
			b = appendXattr(b, x)
		}
	}
	return b
}

func appendXattr(b []byte, x tree.Xattr) []byte {
	b = appendEscaped(append(b, ' '), x.Name, true)
	return appendEscaped(append(b, '='), x.Value, true)
}
