package erofs

import (
	"fmt"
	"slices"

	"github.com/composefs-go/composefs/internal/tree"
)

// reserve makes room for a tree's inodes.
func (p *Plan) reserve(root *tree.Node) {
	names, dirs := count(root)
	p.inodes = make([]inode, 0, names+stubCount)
	p.targets = make([]uint32, 0, names+stubCount)
	p.xattrs = newXattrTable(names, p.rules.prefixes)
	p.refs = make([]uint32, 0, 3*names+dirs)
}

// numberClassic gives all files their numbers, breadth first: when a directory's
// turn comes, its children follow in order of names; a hard link has its
// original's. Xattrs are in order of names.
func (p *Plan) numberClassic(root *tree.Node) error {
	p.buildTime = root.Mtime
	var stub *tree.Node
	p.rootList, stub = withStubs(root)

	var links []pendingTarget
	var r rewriter
	p.inodes = append(p.inodes, newInode(root, 0))
	for i := 0; i < len(p.inodes); i++ {
		n := p.inodes[i].node
		m := marks{root: i == 0, opaque: p.format == V1}
		if m.whiteout = n.IsWhiteout() && n != stub; m.whiteout {
			p.inodes[i].kind = tree.Regular
		}
		if n.Kind == tree.Directory {
			links, m.whiteouts = p.children(uint32(i), stub, links)
		}
		xattrs, err := r.rewrite(n, m)
		if err != nil {
			return fmt.Errorf("inode %d: %w", i, err)
		}
		p.setXattrs(&p.inodes[i], xattrs)
		p.hasACL = p.hasACL || slices.ContainsFunc(xattrs, effectiveXattr.isACL)
		if before(n.Mtime, p.buildTime) {
			p.buildTime = n.Mtime
		}
	}
	p.resolve(links)
	return nil
}

// count returns about how many inodes and directories a tree makes.
func count(n *tree.Node) (names, dirs int) {
	names, dirs = 1+n.Len(), 1
	for _, e := range n.Entries() {
		if e.Node.Kind == tree.Directory {
			below, d := count(e.Node)
			names, dirs = names+below-1, dirs+d
		}
	}
	return names, dirs
}

func newInode(n *tree.Node, parent uint32) inode {
	return inode{node: n, kind: n.Kind, nlink: n.Nlink, parent: parent}
}

// A pendingTarget is a hard link, whose original may get its number later.
type pendingTarget struct {
	place  int // in Plan.targets
	target *tree.Node
}

// children gives a directory's children their numbers and appends its hard links
// to links. It reports whether there are whiteouts.
func (p *Plan) children(dir uint32, stub *tree.Node, links []pendingTarget) ([]pendingTarget, bool) {
	whiteouts := false
	p.inodes[dir].targets = uint32(len(p.targets))
	nlink := uint32(2)
	for _, e := range p.entries(dir) {
		if e.Link {
			links = append(links, pendingTarget{len(p.targets), e.Node})
			p.targets = append(p.targets, 0)
			continue
		}
		if e.Node.Kind == tree.Directory {
			nlink++
		}
		whiteouts = whiteouts || e.Node.IsWhiteout() && e.Node != stub
		p.targets = append(p.targets, uint32(len(p.inodes)))
		p.inodes = append(p.inodes, newInode(e.Node, dir))
	}
	p.inodes[dir].nlink = nlink
	return links, whiteouts
}

// entries returns a directory's entries with the stubs, but without dots.
func (p *Plan) entries(dir uint32) []tree.Entry {
	if dir == 0 {
		return p.rootList
	}
	return p.inodes[dir].node.Entries()
}

// resolve gives hard links the numbers of their originals.
func (p *Plan) resolve(links []pendingTarget) {
	if len(links) == 0 {
		return
	}
	numbers := make(map[*tree.Node]uint32, len(links))
	for _, l := range links {
		numbers[l.target] = 0
	}
	for i := range p.inodes {
		if _, ok := numbers[p.inodes[i].node]; ok {
			numbers[p.inodes[i].node] = uint32(i)
		}
	}
	for _, l := range links {
		p.targets[l.place] = numbers[l.target]
	}
}

// setXattrs notes an inode's xattrs.
func (p *Plan) setXattrs(in *inode, list []effectiveXattr) {
	in.refs, in.refCount = uint32(len(p.refs)), uint32(len(list))
	for _, x := range list {
		p.refs = append(p.refs, p.xattrs.add(x))
	}
}

func before(a, b tree.Time) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }
