package erofs

import (
	"fmt"
	"math"

	"github.com/composefs-go/composefs/internal/tree"
)

const (
	// tailMax is the most that the last part of a directory or of content may
	// have, in bytes, to lie behind the inode and not in a block.
	tailMax = blockSize / 2
	// xattrCountMax is the largest i_xattr_icount.
	xattrCountMax = math.MaxUint16
)

// measureClassic finds out how much room an inode needs: behind it and in blocks.
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

// fitsCompact reports whether the small record will do.
func (p *Plan) fitsCompact(in *inode) bool {
	n, size := in.node, in.size
	switch in.kind {
	case tree.CharDevice, tree.BlockDevice, tree.FIFO, tree.Socket:
		size = n.Size // unused, but libcomposefs looks at it
	}
	return n.Mtime == p.buildTime && in.nlink <= math.MaxUint16 && n.UID <= math.MaxUint16 && n.GID <= math.MaxUint16 && size <= math.MaxUint32
}

// measureXattrs decides which xattrs are stored by reference: the first ones that
// are shared.
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

// byReference reports whether an inode with so many references before has the
// pair by reference too.
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

// placeClassic puts an inode at pos or as far behind it as keeps the tail within
// one block, and returns where it ends. A tail that can't be kept so becomes a
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

// roomAt returns the number of bytes from pos to the end of its block.
func roomAt(pos int64) int64 { return blockSize - pos%blockSize }
