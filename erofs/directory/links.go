package directory

import (
	"slices"
	"sync"

	"github.com/composefs-go/composefs/erofs/tree"
)

// An inode identifies a file that has several names.
type inode struct{ dev, ino uint64 }

// claims records which name's node gets the content of a file with several names.
type claims struct{ m sync.Map }

// claim reports whether n is the first node of the inode.
func (c *claims) claim(id inode, n *tree.Node) bool {
	_, taken := c.m.LoadOrStore(id, n)
	return !taken
}

func (c *claims) of(id inode) *tree.Node {
	n, _ := c.m.Load(id)
	return n.(*tree.Node)
}

// A linkName is a name of a file that has several names.
type linkName struct {
	number int // of the leaf
	parent *tree.Node
	name   string
	inode  inode
}

// link gives all names of a file the same node, once all files are described: the node of
// the name that a worker reached first. The first name in depth-first order is the original.
func (s *scan) link(workers []*worker) {
	var all []linkName
	for _, w := range workers {
		all = append(all, w.linked...)
	}
	slices.SortFunc(all, func(a, b linkName) int { return a.number - b.number })
	met := make(map[inode]struct{}, len(all))
	for _, l := range all {
		n := s.claims.of(l.inode)
		_, again := met[l.inode]
		met[l.inode] = struct{}{}
		if !again {
			n.Nlink = 0
		}
		n.Nlink++
		l.parent.Replace(l.name, n, again)
	}
}
