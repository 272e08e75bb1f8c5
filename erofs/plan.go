package erofs

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A Plan has the place of everything in an image. Making it reads only the tree; writing it
// decides nothing more.
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
	xattrBlock int64 // their ids count from this block
	dataStart  int64 // where the blocks start
	blocks     int64 // of the whole image

	names names // scratch space for measure
}

// An inode is the plan for one file.
type inode struct {
	node     *tree.Node
	kind     tree.Kind // Regular for a whiteout
	layout   uint8
	chunk    uint8 // layoutChunk: log2 of a chunk's size in blocks
	extended bool
	nlink    uint32
	parent   uint32 // inode; Directory only
	targets  uint32 // Directory: index in Plan.targets for its entries
	refs     uint32 // index of its pairs in Plan.refs
	refCount uint32
	shared   uint32 // how many of them are stored by reference
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

// rules are the differences between the layouts of the formats. Everything else is the same
// in all of them: the records, directory blocks, xattr entries, and the order of the parts
// of an image.
type rules struct {
	number  func(p *Plan, root *tree.Node) error // adds all inodes in their order, with their xattrs
	measure func(p *Plan, inode uint32) error    // finds size, layout, tail and record of an inode
	place   func(in *inode, from int64) int64    // puts an inode at from or behind it; returns its end
	compare func(a, b sharedXattr) int           // the order of shared xattrs

	prefixes     []uint8 // of xattr names, by index
	refsMax      uint32  // most xattrs that an inode has by reference
	absoluteIDs  bool    // their ids count from the start of the image, not from the block of the table
	inoIsNid     bool    // i_ino is the place of the inode, not its number in the order
	wholeSeconds bool    // no nanoseconds are stored
}

// formatRules are the rules by format.
var formatRules = [...]*rules{V0: &classicRules, V1: &classicRules, V2: &nativeRules}

// NewPlan lays out an image of the tree. The tree must not change before the image is
// written.
func NewPlan(root *tree.Node, f Format) (*Plan, error) {
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

// reserve allocates space for a tree's inodes.
func (p *Plan) reserve(root *tree.Node) {
	names, dirs := count(root)
	p.inodes = make([]inode, 0, names+stubCount)
	p.targets = make([]uint32, 0, names+stubCount)
	p.xattrs = newXattrTable(names, p.rules.prefixes)
	p.refs = make([]uint32, 0, 3*names+dirs)
}

// count returns about how many inodes and directories a tree has in an image.
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

// entries returns a directory's entries with the stubs, but without the two dots.
func (p *Plan) entries(dir uint32) []tree.Entry {
	if dir == 0 {
		return p.rootList
	}
	return p.inodes[dir].node.Entries()
}

// setXattrs notes an inode's xattrs.
func (p *Plan) setXattrs(in *inode, list []effectiveXattr) {
	in.refs, in.refCount = uint32(len(p.refs)), uint32(len(list))
	for _, x := range list {
		p.refs = append(p.refs, p.xattrs.add(x))
	}
}

const (
	// tailMax is the largest size in bytes with which the last part of a directory or of
	// content is stored behind the inode instead of in a block.
	tailMax = blockSize / 2
	// xattrCountMax is the largest i_xattr_icount.
	xattrCountMax = math.MaxUint16
)

func (i *inode) moveLongTail() {
	if i.tail > tailMax {
		i.blocks, i.tail = i.blocks+1, 0
	}
}

func (p *Plan) measureDirectory(dir uint32) {
	in := &p.inodes[dir]
	p.names.start(p.entries(dir))
	for used := p.names.fill(); used > 0; used = p.names.fill() {
		if p.names.done() {
			in.tail = uint32(used)
		} else {
			in.blocks++
		}
	}
	in.moveLongTail()
	in.size = uint64(in.blocks)*blockSize + uint64(in.tail)
}

// measureXattrs decides which xattrs are stored by reference: the first of the shared ones.
func (p *Plan) measureXattrs(in *inode) error {
	if in.refCount == 0 {
		return nil
	}
	size := int64(xattrHeaderSize)
	for _, id := range p.pairs(in) {
		if p.byReference(in.shared, id) {
			in.shared++
			size += 4
		} else {
			size += p.xattrs.entrySize(id)
		}
	}
	if in.shared > math.MaxUint8 { // not where refsMax is lower
		return fmt.Errorf("%d extended attributes that other files have too, an inode has room for %d", in.shared, math.MaxUint8)
	}
	if xattrCount(size) > xattrCountMax {
		return fmt.Errorf("extended attributes take %d bytes, an inode has room for %d", size, 4*(xattrCountMax-1)+xattrHeaderSize)
	}
	in.xattrs = uint32(size)
	return nil
}

// byReference reports whether an inode that already has so many references has the pair by
// reference too.
func (p *Plan) byReference(before, id uint32) bool {
	return before < p.rules.refsMax && p.xattrs.pairs[id].count > 1
}

// pairs returns an inode's xattrs, in the order in which they are stored.
func (p *Plan) pairs(in *inode) []uint32 { return p.refs[in.refs : in.refs+in.refCount] }

// xattrCount returns i_xattr_icount for an xattr area of so many bytes.
func xattrCount(size int64) int64 {
	if size == 0 {
		return 0
	}
	return (size-xattrHeaderSize)/4 + 1
}

// place gives inodes, shared xattrs and blocks their offsets.
func (p *Plan) place() error {
	pos := int64(inodesOffset)
	dataBlocks := int64(0)
	for i := range p.inodes {
		in := &p.inodes[i]
		pos = p.rules.place(in, roundUp(pos, slotSize))
		if in.layout == layoutPlain && in.tail > 0 {
			in.layout = layoutInline
		}
		dataBlocks += int64(in.blocks)
	}
	if p.inodes[0].nid() > math.MaxUint16 {
		return fmt.Errorf("the root has inode number %d, the superblock has room for %d", p.inodes[0].nid(), math.MaxUint16)
	}
	p.inodesEnd = roundUp(pos, slotSize)
	if !p.rules.absoluteIDs {
		p.xattrBlock = p.inodesEnd / blockSize
	}
	p.dataStart = roundUp(p.inodesEnd+p.xattrs.size, blockSize)
	p.blocks = p.dataStart/blockSize + dataBlocks
	if p.blocks > math.MaxUint32 {
		return fmt.Errorf("the image has %d blocks, the superblock has room for %d", p.blocks, uint32(math.MaxUint32))
	}
	next := p.dataStart / blockSize
	for i := range p.inodes {
		if in := &p.inodes[i]; in.blocks > 0 {
			in.block = next
			next += int64(in.blocks)
		}
	}
	return nil
}

// roomAt returns the number of bytes from pos to the end of its block.
func roomAt(pos int64) int64 { return blockSize - pos%blockSize }

// names iterates over the entries of a directory and the two dots in order, one block at a
// time.
type names struct {
	entries []tree.Entry
	next    int       // of entries
	dots    int       // how many dots are done
	block   []dirName // the current block
}

// A dirName is one entry of a directory: its name, and its index in entries, or one of the dots.
type dirName struct {
	name  string
	entry int
}

// The two entries that every directory has in addition to the entries of its node.
const (
	dotSelf   = -1
	dotParent = -2
)

// start begins another directory.
func (s *names) start(entries []tree.Entry) { s.entries, s.next, s.dots = entries, 0, 0 }

func (s *names) done() bool { return s.next == len(s.entries) && s.dots == 2 }

// peek returns the next entry; there must be one. Names may sort before "." and
// between the dots.
func (s *names) peek() dirName {
	if s.dots < 2 {
		dot := dirName{".."[:s.dots+1], -1 - s.dots}
		if s.next == len(s.entries) || dot.name < s.entries[s.next].Name {
			return dot
		}
	}
	return dirName{s.entries[s.next].Name, s.next}
}

// fill puts as many entries as fit into block, and returns how many bytes they need; 0 if no
// entries are left.
func (s *names) fill() (used int) {
	s.block = s.block[:0]
	for !s.done() {
		n := s.peek()
		if used+direntSize+len(n.name) > blockSize {
			return used
		}
		used += direntSize + len(n.name)
		s.block = append(s.block, n)
		if n.entry < 0 {
			s.dots++
		} else {
			s.next++
		}
	}
	return used
}

// xattrTable holds each pair of name and value once, and counts the inodes that have it:
// pairs with several users are shared.
type xattrTable struct {
	pairs  []xattrPair
	names  []xattrName
	byName map[string]uint32 // → names
	byPair pairIndex
	shared []uint32   // pairs with several users, in the order of the shared table
	size   int64      // of the shared table
	text   tree.Arena // owns the values

	prefixes []uint8 // indexes of the prefixes at which names are split
}

type xattrPair struct {
	value  string
	name   uint32 // in names
	count  uint32
	offset int64 // in the shared table
}

type xattrName struct {
	full   string
	suffix string
	index  uint8
	bit    uint32 // in the filter
}

// A sharedXattr is a pair with its name, for comparison.
type sharedXattr struct {
	*xattrName
	value string
}

func newXattrTable(inodes int, prefixes []uint8) *xattrTable {
	t := &xattrTable{byName: make(map[string]uint32), prefixes: prefixes}
	t.byPair.reserve(2 * inodes)
	return t
}

// add notes one more user of a pair and returns its place in pairs.
func (t *xattrTable) add(x effectiveXattr) uint32 {
	name, ok := t.byName[x.name]
	if !ok {
		name = uint32(len(t.names))
		index, suffix := splitName(x.name, t.prefixes)
		t.names = append(t.names, xattrName{x.name, suffix, index, filterBit(index, suffix)})
		t.byName[x.name] = name
	}
	place := t.byPair.find(t.pairs, name, x.value)
	if *place == 0 {
		t.pairs = append(t.pairs, xattrPair{name: name, value: t.text.String(x.value)})
		*place = uint32(len(t.pairs))
	}
	id := *place - 1
	t.pairs[id].count++
	return id
}

// entrySize returns the size of a pair's entry in bytes.
func (t *xattrTable) entrySize(id uint32) int64 {
	p := &t.pairs[id]
	return roundUp(int64(xattrEntrySize+len(t.names[p.name].suffix)+len(p.value)), 4)
}

// appendEntry appends a pair's entry to b, which is at a multiple of 4.
func (t *xattrTable) appendEntry(b []byte, id uint32) []byte {
	p := &t.pairs[id]
	n := &t.names[p.name]
	b = append(b, uint8(len(n.suffix)), n.index, uint8(len(p.value)), uint8(len(p.value)>>8))
	b = append(append(b, n.suffix...), p.value...)
	for used := len(n.suffix) + len(p.value); used%4 != 0; used++ {
		b = append(b, 0)
	}
	return b
}

// share lays out the table of shared pairs, once all users are counted.
func (t *xattrTable) share(compare func(a, b sharedXattr) int) {
	for id := range t.pairs {
		if t.pairs[id].count > 1 {
			t.shared = append(t.shared, uint32(id))
		}
	}
	slices.SortFunc(t.shared, func(i, j uint32) int {
		a, b := &t.pairs[i], &t.pairs[j]
		return compare(sharedXattr{&t.names[a.name], a.value}, sharedXattr{&t.names[b.name], b.value})
	})
	for _, id := range t.shared {
		t.pairs[id].offset = t.size
		t.size += t.entrySize(id)
	}
}

// A pairIndex finds pairs by name and value. It is a hash table of nothing but places
// in a list, since nearly every file has pairs of its own, and a map would need more
// memory than they do.
//
// A slot holds a place plus 1, or 0 if it is empty. A pair that isn't in its own slot is in
// one of the following slots, before the next empty one.
type pairIndex struct {
	slots []uint32 // the length is a power of two
	seed  maphash.Seed
}

// reserve allocates space for n pairs.
func (x *pairIndex) reserve(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	x.slots, x.seed = make([]uint32, size), maphash.MakeSeed()
}

// find returns the slot of a pair. If it is empty, the caller puts the pair there.
func (x *pairIndex) find(pairs []xattrPair, name uint32, value []byte) *uint32 {
	if 4*len(pairs) > 3*len(x.slots) {
		x.grow(pairs)
	}
	mask := uint64(len(x.slots) - 1)
	for i := x.hash(name, maphash.Bytes(x.seed, value)); ; i++ {
		place := &x.slots[i&mask]
		if *place == 0 {
			return place
		}
		if p := &pairs[*place-1]; p.name == name && p.value == string(value) {
			return place
		}
	}
}

// hash mixes the name's number into the hash of the value.
func (x *pairIndex) hash(name uint32, value uint64) uint64 {
	return value + uint64(name)*0x9e3779b97f4a7c15
}

// grow makes a table twice as large.
func (x *pairIndex) grow(pairs []xattrPair) {
	x.slots = make([]uint32, 2*len(x.slots))
	mask := uint64(len(x.slots) - 1)
	for id := range pairs {
		i := x.hash(pairs[id].name, maphash.String(x.seed, pairs[id].value))
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = uint32(id + 1)
	}
}
