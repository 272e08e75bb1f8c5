package erofs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ChooseFormat returns the format in which libcomposefs writes a tree when allowed
// formats from least to most: the least, but V1 for a tree with whiteouts.
func ChooseFormat(root *tree.Node, least, most Format) (Format, error) {
	if least > V1 || most > V1 {
		return 0, fmt.Errorf("%w: want formats up to %v, found %v to %v", ErrUnsupported, V1, least, most)
	}
	if least < V1 && most >= V1 && hasWhiteout(root) {
		return V1, nil
	}
	return least, nil
}

func hasWhiteout(n *tree.Node) bool {
	return n.IsWhiteout() || slices.ContainsFunc(n.Entries(), func(e tree.Entry) bool { return !e.Link && hasWhiteout(e.Node) })
}

// classicRules are the rules of libcomposefs, for V0 and V1.
var classicRules = rules{
	number:   (*Plan).numberClassic,
	measure:  (*Plan).measureClassic,
	place:    (*inode).placeClassic,
	prefixes: []uint8{1, 2, 3, 4, 6}, // no lustre
	refsMax:  128,
	compare: func(a, b sharedXattr) int {
		return -cmp.Or(cmp.Compare(a.full, b.full), len(a.value)-len(b.value), cmp.Compare(a.value, b.value))
	},
}

// numberClassic numbers all files, breadth first: when the turn of a directory comes, its
// children get the next numbers, in order of names; a hard link has the number of its
// original. Xattrs are in order of names.
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

func newInode(n *tree.Node, parent uint32) inode {
	return inode{node: n, kind: n.Kind, nlink: n.Nlink, parent: parent}
}

// A pendingTarget is a hard link, whose original may get its number later.
type pendingTarget struct {
	place  int // in Plan.targets
	target *tree.Node
}

// children numbers a directory's children and appends its hard links to links. It reports
// whether there are whiteouts.
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

func before(a, b tree.Time) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }

// stubCount is the number of whiteouts that V0 and V1 add to the root, one for every
// directory that an object store may have.
const stubCount = 256

// stubPerm are a stub's permissions.
const stubPerm = 0o644

// withStubs returns the root's entries and the stubs whose names aren't taken; the node of
// all of these is stub.
func withStubs(root *tree.Node) (list []tree.Entry, stub *tree.Node) {
	stub = &tree.Node{Kind: tree.CharDevice, Perm: stubPerm, Nlink: 1, UID: root.UID, GID: root.GID, Mtime: root.Mtime}
	if label, ok := root.Xattr(nameSELinux); ok {
		stub.SetXattr(nameSELinux, label)
	}
	list = append(make([]tree.Entry, 0, root.Len()+stubCount), root.Entries()...)
	for i := range stubCount {
		if name := fmt.Sprintf("%02x", i); root.Lookup(name) == nil {
			list = append(list, tree.Entry{Name: name, Node: stub})
		}
	}
	slices.SortFunc(list, func(a, b tree.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, stub
}

// An effectiveXattr is an xattr as the image stores it; for names of overlayfs this differs
// from the tree. The value is valid until the next inode's xattrs are made.
type effectiveXattr struct {
	name  string
	value []byte
}

func (x effectiveXattr) isACL() bool { return x.name == nameACLAccess || x.name == nameACLDefault }

// A rewriter makes effective xattrs, one inode at a time, without changing the node. The
// numbers of the rules are the order in which libcomposefs applies them.
type rewriter struct {
	list []effectiveXattr // ascending by name
	used uint64           // see set
	buf  []byte           // for values that are made here
}

var errXattrSpace = errors.New("too many or too large extended attributes for libcomposefs, which refuses this tree too (numerical result out of range)")

// What set counts for each xattr, and in addition for the first of a file.
const (
	xattrCost      = 7
	firstXattrCost = 12
	xattrBudget    = 32767
)

// marks are the overlayfs rewritings that apply to an inode for V0 and V1.
type marks struct {
	whiteout  bool // it is a whiteout, stored as a regular file
	whiteouts bool // it is a directory with whiteouts
	opaque    bool // and the format also marks it as opaque
	root      bool
}

// rewrite makes the effective xattrs of n.
func (r *rewriter) rewrite(n *tree.Node, m marks) ([]effectiveXattr, error) {
	r.list, r.used, r.buf = r.list[:0], 0, r.buf[:0]
	for _, x := range n.Xattrs() {
		r.list = append(r.list, effectiveXattr{escapeName(x.Name), x.Value}) // stays in order
	}
	var err error
	set := func(name string, value []byte) {
		if err == nil {
			err = r.set(name, value)
		}
	}
	if isExternal(n) {
		r.buf = appendMetacopy(r.buf, n.Object)
		metacopy := r.buf
		set(nameMetacopy, metacopy)
		if n.Payload != "" {
			r.buf = append(append(r.buf, '/'), n.Payload...)
			set(nameRedirect, r.buf[len(metacopy):])
		}
	}
	if m.whiteout {
		set(nameEscapedWhiteout, nil)
		set(nameUserWhiteout, nil)
	}
	if m.whiteouts {
		set(nameEscapedWhiteouts, nil)
		set(nameUserWhiteouts, nil)
	}
	if m.whiteouts && m.opaque {
		set(nameEscapedOpaque, []byte("x"))
		set(nameUserOpaque, []byte("x"))
	}
	if m.root {
		set(nameOpaque, []byte("y"))
	}
	return r.list, err
}

// set adds or replaces an xattr. It counts their sizes as libcomposefs does on its copy of
// the tree: there the sum starts at 0 although the file has xattrs, so it may fall below 0,
// which is an error. There is no image to agree on for a tree that libcomposefs refuses.
func (r *rewriter) set(name string, value []byte) error {
	i, found := slices.BinarySearchFunc(r.list, name, func(x effectiveXattr, s string) int { return strings.Compare(x.name, s) })
	if found {
		r.used -= uint64(xattrCost + len(name) + len(r.list[i].value))
		r.list = slices.Delete(r.list, i, i+1)
		if len(r.list) == 0 {
			r.used = 0
		}
	}
	r.used += uint64(xattrCost + len(name) + len(value))
	if len(r.list) == 0 {
		r.used += firstXattrCost
	}
	if r.used > xattrBudget {
		return errXattrSpace
	}
	r.list = slices.Insert(r.list, i, effectiveXattr{name, value})
	return nil
}

// isExternal reports whether a node's content is an object.
func isExternal(n *tree.Node) bool {
	return n.Kind == tree.Regular && n.Size > 0 && len(n.Inline) == 0
}

// measureClassic finds out how much space an inode needs, behind it and in blocks.
func (p *Plan) measureClassic(i uint32) error {
	in := &p.inodes[i]
	n := in.node
	switch {
	case in.kind == tree.Directory:
		p.measureDirectory(i)
	case in.kind == tree.Symlink:
		in.size = uint64(len(n.Target))
		in.tail = uint32(len(n.Target))
	case isExternal(n):
		in.size = n.Size
		if chunkCount(n.Size) > chunkCountMax {
			return fmt.Errorf("file too large: %d bytes need more than %d chunks", n.Size, chunkCountMax)
		}
		in.tail = 4 * uint32(chunkCount(n.Size))
		in.layout, in.chunk = layoutChunk, uint8(chunkBits(n.Size)-blockBits)
	case in.kind == tree.Regular && n.Kind == tree.Regular: // a whiteout has no content
		in.size = uint64(len(n.Inline))
		in.blocks, in.tail = uint32(len(n.Inline)/blockSize), uint32(len(n.Inline)%blockSize)
		in.moveLongTail()
	}
	in.extended = !p.fitsCompact(in)
	return nil
}

// fitsCompact reports whether the small record is enough.
func (p *Plan) fitsCompact(in *inode) bool {
	n, size := in.node, in.size
	switch in.kind {
	case tree.CharDevice, tree.BlockDevice, tree.FIFO, tree.Socket:
		size = n.Size // unused, but libcomposefs looks at it
	}
	return n.Mtime == p.buildTime && in.nlink <= math.MaxUint16 && n.UID <= math.MaxUint16 && n.GID <= math.MaxUint16 && size <= math.MaxUint32
}

// placeClassic puts an inode at pos, or as far behind it as is needed to keep the tail
// within one block, and returns its end. A tail for which that is impossible becomes a
// block.
func (i *inode) placeClassic(pos int64) int64 {
	head := i.recordSize() + int64(i.xattrs)
	nextBlock := roundUp(pos, blockSize)
	if i.kind == tree.Symlink {
		total := head + int64(i.tail)
		if pos/blockSize != (pos+total-1)/blockSize {
			pos = nextBlock
		}
		if total >= blockSize {
			i.blocks, i.tail = i.blocks+1, 0
		}
	} else if room := roomAt(pos + head); room < int64(i.tail) {
		if pad := roundUp(room, slotSize); int64(i.tail) <= roomAt(pos+head+pad) {
			pos += pad
		} else {
			i.blocks, i.tail = i.blocks+1, 0
			pos = nextBlock
		}
	}
	i.offset = pos
	return pos + head + int64(i.tail)
}
