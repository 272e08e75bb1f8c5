package erofs

import (
	"fmt"
	"slices"

	"github.com/composefs-go/composefs/internal/tree"
)

// A Plan gives everything in an image its place. Making it needs the tree only,
// and writing it has nothing left to decide.
type Plan struct {
	format    Format
	rules     *rules
	hasACL    bool
	buildTime tree.Time // of inodes whose record has no time
	inodes    []inode
	rootList  []tree.Entry // the root's entries with the stubs
	targets   []uint32     // inode of each entry; a directory's are together
	xattrs    *xattrTable
	refs      []uint32 // pairs in xattrs; an inode's are together

	inodesEnd  int64 // where the shared xattrs start
	xattrBlock int64 // the block from which their ids count
	dataStart  int64 // where the blocks start
	blocks     int64 // of the whole image

	names names // scratch of measure
}

// An inode is the plan for one file.
type inode struct {
	node     *tree.Node
	kind     tree.Kind // a whiteout is a Regular here
	layout   uint8
	chunk    uint8 // layoutChunk: log2 of a chunk's size in blocks
	extended bool
	nlink    uint32
	parent   uint32 // inode; Directory only
	targets  uint32 // Directory: where its entries' are in Plan.targets
	refs     uint32 // where its pairs are in Plan.refs
	refCount uint32
	shared   uint32 // so many of them are stored by reference
	xattrs   uint32 // bytes of the xattr area
	tail     uint32 // bytes behind the xattr area
	blocks   uint32 // data blocks
	block    int64  // the first of them
	size     uint64 // as the record says
	offset   int64  // of the record
}

func (i *inode) nid() uint64 { return uint64(i.offset / slotSize) }

// recordSize returns the size of the inode without xattrs and tail.
func (i *inode) recordSize() int64 {
	if i.extended {
		return extendedSize
	}
	return compactSize
}

// NewPlan lays out an image of the tree. It reads the tree only, and the tree must
// not change before the image is written.
func NewPlan(root *Node, f Format) (*Plan, error) {
	if int(f) >= len(formatRules) {
		return nil, fmt.Errorf("plan image: %w: can't write format %v", ErrUnsupported, f)
	}
	if err := tree.Check(root); err != nil {
		return nil, fmt.Errorf("plan image: %w", err)
	}
	p := &Plan{format: f, rules: formatRules[f]}
	p.reserve(root)
	if err := p.rules.number(p, root); err != nil {
		return nil, fmt.Errorf("plan image: %w", err)
	}
	p.xattrs.share(p.rules.compare)
	for i := range p.inodes {
		err := p.rules.measure(p, uint32(i))
		if err == nil {
			err = p.measureXattrs(&p.inodes[i])
		}
		if err != nil {
			return nil, fmt.Errorf("plan image: inode %d: %w", i, err)
		}
	}
	if err := p.place(); err != nil {
		return nil, fmt.Errorf("plan image: %w", err)
	}
	return p, nil
}

// Size returns the size of the image in bytes.
func (p *Plan) Size() int64 { return p.blocks * blockSize }

// Inodes returns the number of inodes, stubs included.
func (p *Plan) Inodes() int { return len(p.inodes) }

// ChooseFormat returns the format in which libcomposefs writes a tree when allowed
// formats from least to most: the least, but V1 for a tree with whiteouts.
func ChooseFormat(root *Node, least, most Format) (Format, error) {
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
