package erofs

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// Tree reads the tree that the image was made from. Writing it in the image's format gives
// the same image, for images of this package and of libcomposefs, and for V2 images of
// composefs-rs. The tree has nothing that the writer added: no stubs, markers of directories
// with whiteouts, or escapes of overlayfs xattrs. From V1 images, trusted.overlay.opaque and
// user.overlay.opaque = x remain on directories with whiteouts, since they may come from the
// source. Directories have the size that they have on disk. From V2 images, the first name
// of a file is its original, and times have no nanoseconds.
//
// An image that refers to the same bytes twice, or in a circle, is refused. Memory and time
// are proportional to the image's size.
func (m *Image) Tree() (*tree.Node, error) { return m.tree(nil) }

// TreeOf is Tree for the files in the root with the given names, and the files below them.
// A name that isn't there is left out. Nothing else in the image is read or checked. A file keeps its link count, even if some of
// its names aren't in the tree; its original may be another name than in Tree.
func (m *Image) TreeOf(names ...string) (*tree.Node, error) {
	return m.tree(&names)
}

func (m *Image) tree(only *[]string) (*tree.Node, error) {
	l := &loader{m: m, only: only, claims: newClaims(m.size), nodes: make(map[uint64]*loadedInode, min(m.super.Inodes, m.size/slotSize, inodesHint))}
	l.xattrs = newXattrReader(m, &l.arena)
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return l.dirs[0].node, nil
}

// inodesHint limits for how many inodes space is allocated in advance.
const inodesHint = 1 << 16

// A loader makes a tree from an image, breadth first.
type loader struct {
	m      *Image
	only   *[]string // names in the root, if not all
	arena  tree.Arena
	claims claims
	xattrs *xattrReader
	nodes  map[uint64]*loadedInode // by inode number
	pool   []loadedInode           // to make nodes' values from
	dirs   []loadedDir             // in the order of their numbers; a queue while loading
	next   uint32                  // number that the next original has in V0 and V1
}

// A loadedInode is an inode that has been read.
type loadedInode struct {
	node     *tree.Node // nil for a stub
	ino      uint32
	original bool   // a name has become its original
	dir      int    // in dirs: where it was found first
	name     string // there
	kind     tree.Kind
}

type loadedDir struct {
	node   *tree.Node
	record *record
	parent uint64
	depth  int
}

func (l *loader) load() error {
	root, err := l.m.inode(uint64(l.m.super.RootNid))
	if err != nil {
		return err
	}
	if root.kind != tree.Directory {
		return root.fault("the root is not a directory", ErrCorrupt)
	}
	if _, err := l.inode(root); err != nil {
		return err
	}
	l.dirs[0].parent, l.dirs[0].depth, l.next = root.nid, 1, 1
	for i := 0; i < len(l.dirs); i++ {
		d := l.dirs[i]
		err := d.record.dirents(d.parent, func(e dirEntry) error { return l.entry(i, e) })
		if err != nil {
			return err
		}
	}
	if !l.rewritten() {
		if l.only == nil {
			tree.Relink(l.dirs[0].node)
		}
		return nil
	}
	l.adopt()
	l.dropMarkers()
	return nil
}

// rewritten reports whether the image's format changes the tree when storing it.
func (l *loader) rewritten() bool { return l.m.header.Version <= V1 }

// entry puts one entry into the tree's dir-th directory.
func (l *loader) entry(dir int, e dirEntry) error {
	if dir == 0 && l.only != nil && !slices.Contains(*l.only, string(e.name)) {
		return nil
	}
	parent := l.dirs[dir]
	n, met := l.nodes[e.nid]
	if !met {
		i, err := l.m.inode(e.nid)
		if err != nil {
			return err
		}
		if n, err = l.inode(i); err != nil {
			return err
		}
		n.dir = dir
	}
	if e.kind != n.kind {
		return parent.record.faultAt(e.off, fmt.Sprintf("directory entry %.255q has another type than inode %d", e.name, e.nid), ErrCorrupt)
	}
	isNext := !n.original && n.ino == l.next && l.mayBeOriginal(n, parent.node)
	if isNext {
		l.next++
	}
	isNext = isNext || !met && !l.rewritten() // which has no numbers, and will be relinked
	if n.node == nil {
		n.original = n.original || isNext
		return nil
	}
	name := l.arena.String(e.name)
	if n.kind == tree.Directory {
		if met {
			return parent.record.faultAt(e.off, fmt.Sprintf("directory entry %.255q leads to a directory that is elsewhere too", name), ErrCorrupt)
		}
		child := &l.dirs[len(l.dirs)-1]
		if child.parent, child.depth = parent.record.nid, parent.depth+1; child.depth > tree.DepthMax {
			return parent.record.faultAt(e.off, fmt.Sprintf("directories are nested more than %d deep", tree.DepthMax), ErrUnsupported)
		}
		isNext = true
	}
	if err := l.name(parent, name, n, isNext); err != nil {
		return parent.record.faultAt(e.off, err.Error(), ErrCorrupt)
	}
	return nil
}

// mayBeOriginal reports whether a name of the file in this directory can be its original:
// the writer marks directories with whiteouts.
func (l *loader) mayBeOriginal(n *loadedInode, dir *tree.Node) bool {
	if n.node == nil || !n.node.IsWhiteout() {
		return true
	}
	_, marked := dir.Xattr(nameUserWhiteouts)
	return marked
}

// name gives a node a name, as its original or as a hard link. In V0 and V1 the number of an
// inode determines the directory of its original.
func (l *loader) name(parent loadedDir, name string, n *loadedInode, original bool) error {
	add := parent.node.Link
	if original {
		add, n.original = parent.node.Add, true
	} else if n.name == "" {
		n.name = name
	}
	return add(name, n.node)
}

// adopt makes the first name of a file its original if the numbers didn't determine it, as
// in images that are numbered in another way.
func (l *loader) adopt() {
	for _, n := range l.nodes {
		if !n.original && n.node != nil && n.name != "" {
			l.dirs[n.dir].node.Replace(n.name, n.node, false)
		}
	}
}

// inode makes a node for an inode that is found for the first time.
func (l *loader) inode(i *record) (*loadedInode, error) {
	if err := l.claim(i); err != nil {
		return nil, err
	}
	if len(l.pool) == 0 {
		l.pool = make([]loadedInode, 256)
	}
	n := &l.pool[0]
	l.pool = l.pool[1:]
	n.ino, n.kind = i.ino, i.kind
	l.nodes[i.nid] = n
	if i.kind == tree.CharDevice && i.u == 0 && l.rewritten() {
		return n, nil // a stub
	}
	n.node = l.arena.Node()
	if i.kind == tree.Directory {
		l.dirs = append(l.dirs, loadedDir{node: n.node, record: i})
	}
	return n, l.fill(n.node, i)
}

// claim claims the bytes of the inode and of its data.
func (l *loader) claim(i *record) error {
	blocks, tail := i.blocks()
	if !l.claims.claim(i.offset(), i.data+tail) {
		return i.fault("it overlaps with another inode", ErrCorrupt)
	}
	start := uint64(i.u) * blockSize
	if blocks > l.m.size/blockSize || blocks > 0 && !l.claims.claim(start, start+blocks*blockSize) {
		return i.faultAt(start, "its data is missing, or another inode's too", ErrCorrupt)
	}
	return nil
}

// claims notes which slots of an image are in use. No inode or block of data shares its
// slots with another one: an image with shared slots could cost its reader far more work
// than its size suggests.
type claims []uint64

func newClaims(size uint64) claims { return make(claims, (size/slotSize+63)/64) }

// claim claims the bytes from off to end, and reports whether they exist and were free.
func (c claims) claim(off, end uint64) bool {
	first, last := off/slotSize, (end+slotSize-1)/slotSize
	if end < off || end > uint64(len(c))*64*slotSize {
		return false
	}
	for s := first; s < last; s++ {
		if c[s/64]&(1<<(s%64)) != 0 {
			return false
		}
		c[s/64] |= 1 << (s % 64)
	}
	return true
}

// fill sets everything in a node except its children.
func (l *loader) fill(n *tree.Node, i *record) error {
	n.Kind, n.Perm, n.Nlink, n.UID, n.GID, n.Mtime = i.kind, i.perm, i.nlink, i.uid, i.gid, i.mtime
	switch i.kind {
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev, n.Size = i.u, l.impliedSize(i)
	case tree.FIFO, tree.Socket:
		n.Size = l.impliedSize(i)
	case tree.Directory:
		n.Size = i.size
	case tree.Symlink:
		target, err := i.content(tree.TargetMax, "symlink target")
		if err != nil {
			return err
		}
		if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
			return i.faultAt(i.partOffset(0), "symlink target is empty or has a NUL", ErrCorrupt)
		}
		n.Target, n.Size = l.arena.String(target), i.size
	case tree.Regular:
		n.Size = i.size
		if i.layout != layoutChunk {
			content, err := i.content(tree.ContentMax, "content")
			if err != nil {
				return err
			}
			n.Inline = content
		}
	}
	return l.fillXattrs(n, i)
}

// impliedSize returns a size with which a node without content gets an extended inode; the
// image doesn't store the size itself.
func (l *loader) impliedSize(i *record) uint64 {
	const fits = 1<<16 - 1
	if !i.extended || !l.rewritten() || i.mtime != l.m.buildTime() || i.nlink > fits || i.uid > fits || i.gid > fits {
		return 0
	}
	return 1 << 32
}

// fillXattrs sets a node's xattrs, and the fields that xattrs of overlayfs stand for.
func (l *loader) fillXattrs(n *tree.Node, i *record) error {
	list, err := l.xattrs.read(i)
	if err != nil || len(list) == 0 {
		return err
	}
	external := i.layout == layoutChunk && (i.size > 0 || !l.rewritten())
	var own []tree.Xattr
	for _, x := range list {
		keep, err := l.interpret(n, &x, external)
		if err != nil {
			return i.faultAt(i.xattrs, err.Error(), ErrCorrupt)
		}
		if keep && own == nil {
			own = l.arena.Xattrs(len(list))
		}
		if keep {
			own = append(own, x)
		}
	}
	if len(own) > 0 {
		n.SetXattrs(own)
	}
	if l.rewritten() {
		restoreWhiteout(n)
	}
	return nil
}

// interpret applies an xattr that says where content is, gives other xattrs the names that
// they had in the tree, and reports whether to keep the xattr.
func (l *loader) interpret(n *tree.Node, x *tree.Xattr, external bool) (keep bool, err error) {
	switch {
	case !strings.HasPrefix(x.Name, overlayPrefix):
		keep = true
	case strings.HasPrefix(x.Name, overlayEscapedPrefix):
		keep = true
		x.Name = "trusted." + x.Name[len(overlayPrefix):]
	case x.Name == nameOpaque && n.Kind == tree.Directory:
	case !external || x.Name != nameMetacopy && x.Name != nameRedirect:
		return false, fmt.Errorf("%s, which overlayfs obeys there, and no program of composefs writes there", x.Name)
	case x.Name == nameMetacopy:
		n.Object, err = parseMetacopy(x.Value)
	case x.Name == nameRedirect:
		payload := bytes.TrimPrefix(x.Value, []byte{'/'})
		if len(payload) > tree.PayloadMax || bytes.IndexByte(payload, 0) >= 0 {
			return false, fmt.Errorf("%s of %d bytes", x.Name, len(x.Value))
		}
		n.Payload = l.arena.String(payload)
	}
	if keep && len(x.Name) > tree.XattrNameMax {
		return false, fmt.Errorf("extended attribute: a name of %d bytes", len(x.Name))
	}
	return keep, err
}

// restoreWhiteout turns a file that stands for a whiteout back into one.
func restoreWhiteout(n *tree.Node) {
	if n.Kind != tree.Regular || n.Size > 0 {
		return
	}
	_, inner := n.Xattr(overlayPrefix + "whiteout")
	_, user := n.Xattr(nameUserWhiteout)
	if inner && user {
		n.Kind, n.Rdev = tree.CharDevice, 0
		n.RemoveXattr(overlayPrefix + "whiteout")
		n.RemoveXattr(nameUserWhiteout)
	}
}

// dropMarkers removes from directories with whiteouts the xattrs that the writer adds.
func (l *loader) dropMarkers() {
	for i, d := range l.dirs {
		if !slices.ContainsFunc(d.node.Entries(), isOwnWhiteout) && !(i == 0 && l.only != nil && isMarked(d.node)) {
			continue
		}
		for _, name := range markers {
			if v, ok := d.node.Xattr(name); ok && len(v) == 0 {
				d.node.RemoveXattr(name)
			}
		}
	}
}

// markers are the xattrs of a directory with whiteouts, by the names in the tree.
var markers = [...]string{overlayPrefix + "whiteouts", nameUserWhiteouts}

func isOwnWhiteout(e tree.Entry) bool { return !e.Link && e.Node.IsWhiteout() }

// isMarked reports whether a directory has both markers: then it has whiteouts, although
// TreeOf may have left them out.
func isMarked(dir *tree.Node) bool {
	for _, name := range markers {
		if v, ok := dir.Xattr(name); !ok || len(v) > 0 {
			return false
		}
	}
	return true
}

// Objects yields the digests of all objects that the image's files refer to, in the order of
// the files' paths: by the digest for verification, by the path in the object store, or
// both. An object that several files have comes several times. An error is the last value.
func (m *Image) Objects() iter.Seq2[verity.Digest, error] {
	return func(yield func(verity.Digest, error) bool) {
		root, err := m.Tree()
		if err != nil {
			yield(verity.Digest{}, err)
			return
		}
		yieldObjects(root, yield)
	}
}

func yieldObjects(n *tree.Node, yield func(verity.Digest, error) bool) bool {
	if hasObject(n) {
		if !n.Object.IsZero() && !yield(n.Object, nil) {
			return false
		}
		if d := tree.PayloadObject(n.Payload); !d.IsZero() && d != n.Object && !yield(d, nil) {
			return false
		}
	}
	for _, e := range n.Entries() {
		if !e.Link && !yieldObjects(e.Node, yield) {
			return false
		}
	}
	return true
}
