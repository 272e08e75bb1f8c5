package erofs

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
)

// Write writes an image of the tree, from start to end. The image depends only on the tree
// and the format. The tree isn't changed. To get the digest as well, make w an
// io.MultiWriter with a verity.Hasher.
func Write(w io.Writer, root *tree.Node, f Format) error {
	p, err := NewPlan(root, f)
	if err != nil {
		return err
	}
	_, err = p.WriteTo(w)
	return err
}

// WriteTo writes the planned image, which has Size bytes.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	e := &emitter{w: w, buf: make([]byte, 0, 2*emitAt)}
	p.emitHeaders(e)
	for i := range p.inodes {
		p.emitInode(e, uint32(i))
	}
	e.padTo(p.inodesEnd, "shared xattrs")
	for _, id := range p.xattrs.shared {
		e.buf = p.xattrs.appendEntry(e.buf, id)
		e.spill()
	}
	e.padTo(p.dataStart, "data blocks")
	for i := range p.inodes {
		if p.inodes[i].blocks > 0 {
			p.emitBlocks(e, uint32(i))
		}
	}
	e.padTo(p.Size(), "end")
	e.flush()
	if e.err != nil {
		return e.written, fmt.Errorf("write image: %w", e.err)
	}
	return e.written, nil
}

// emitAt is the number of collected bytes at which an emitter writes.
const emitAt = 64 << 10

// An emitter collects the image's bytes and writes them in large pieces. It keeps
// the first error.
type emitter struct {
	w       io.Writer
	buf     []byte // starts at the offset written
	written int64
	err     error
	names   names // scratch
}

func (e *emitter) flush() {
	if e.err == nil {
		var n int
		n, e.err = e.w.Write(e.buf)
		e.written += int64(n)
	}
	e.buf = e.buf[:0]
}

func (e *emitter) spill() {
	if len(e.buf) >= emitAt {
		e.flush()
	}
}

// padTo writes zeros up to an offset in the plan, which must not have been passed.
func (e *emitter) padTo(offset int64, what string) {
	e.spill()
	if e.err != nil {
		return
	}
	pad := offset - e.written - int64(len(e.buf))
	if pad < 0 || pad > 2*blockSize {
		e.err = fmt.Errorf("plan and image differ: want %s at %#x, found the end of the part before it at %#x", what, offset, offset-pad)
		return
	}
	e.buf = appendZeros(e.buf, int(pad))
}

func appendZeros(b []byte, n int) []byte { return append(b, make([]byte, n)...) }

func (p *Plan) emitHeaders(e *emitter) {
	le := binary.LittleEndian
	h := header{Magic: headerMagic, Version: headerVersion, ComposefsVersion: uint32(p.format)}
	if p.hasACL {
		h.Flags = flagHasACL
	}
	s := superblock{
		Magic: superMagic, FeatureCompat: compatMtime | compatXattrFilter, BlockBits: blockBits,
		RootNid: uint16(p.inodes[0].nid()), Inodes: uint64(len(p.inodes)),
		BuildTime: p.buildTime.Sec, BuildTimeNsec: p.buildTime.Nsec,
		Blocks: uint32(p.blocks), XattrBlock: uint32(p.xattrBlock),
	}
	for _, part := range []struct {
		at   int64
		data any
	}{{0, h}, {superOffset, s}} {
		e.padTo(part.at, "header")
		if e.err == nil {
			e.buf, e.err = binary.Append(e.buf, le, part.data)
		}
	}
}

func (p *Plan) emitInode(e *emitter, i uint32) {
	in := &p.inodes[i]
	e.padTo(in.offset, "inode")
	e.buf = p.appendRecord(e.buf, i)
	e.buf = p.appendXattrs(e.buf, in)
	if in.tail == 0 {
		return
	}
	switch n := in.node; {
	case in.kind == tree.Directory:
		p.emitDirectory(e, i, in.blocks, in.blocks+1)
	case in.kind == tree.Symlink:
		e.buf = append(e.buf, n.Target...)
	case in.layout == layoutChunk:
		e.buf = appendHoles(e.buf, int(in.tail))
	default:
		e.buf = append(e.buf, n.Inline[len(n.Inline)-int(in.tail):]...)
	}
}

// appendHoles appends so many bytes of a chunk map without chunks.
func appendHoles(b []byte, n int) []byte {
	for range n / 4 {
		b = binary.LittleEndian.AppendUint32(b, chunkMapHole)
	}
	return b
}

func (p *Plan) appendRecord(b []byte, number uint32) []byte {
	in := &p.inodes[number]
	n := in.node
	format := uint16(in.layout) << 1
	mode := typeBits[in.kind] | n.Perm
	count := uint16(xattrCount(int64(in.xattrs)))
	if in.extended {
		r := inodeExtended{
			Format: format | 1, XattrCount: count, Mode: mode, Size: in.size, U: in.u(), Ino: number,
			UID: n.UID, GID: n.GID, Mtime: n.Mtime.Sec, MtimeNsec: n.Mtime.Nsec, Nlink: in.nlink,
		}
		if p.rules.inoIsNid {
			r.Ino = uint32(in.nid())
		}
		if p.rules.wholeSeconds {
			r.MtimeNsec = 0
		}
		return r.appendTo(b)
	}
	r := inodeCompact{
		Format: format, XattrCount: count, Mode: mode, Nlink: uint16(in.nlink), Size: uint32(in.size),
		U: in.u(), Ino: number, UID: uint16(n.UID), GID: uint16(n.GID),
	}
	return r.appendTo(b)
}

// u returns the field whose meaning depends on the kind: device number, first block, or size
// of the chunks. If a chunk map was moved to a block, its address is here, half overwritten;
// it is useless, but part of what is hashed.
func (i *inode) u() uint32 {
	switch {
	case i.layout == layoutChunk:
		return uint32(i.block)&0xffff0000 | uint32(i.chunk)
	case i.kind == tree.CharDevice || i.kind == tree.BlockDevice:
		return i.node.Rdev
	}
	return uint32(i.block)
}

func (p *Plan) appendXattrs(b []byte, in *inode) []byte {
	if in.refCount == 0 {
		return b
	}
	le := binary.LittleEndian
	pairs := p.pairs(in)
	filter := ^uint32(0)
	for _, id := range pairs {
		filter &^= p.xattrs.names[p.xattrs.pairs[id].name].bit
	}
	b = le.AppendUint32(b, filter)
	b = append(b, uint8(in.shared), 0, 0, 0, 0, 0, 0, 0)
	base := p.inodesEnd - p.xattrBlock*blockSize
	shared := uint32(0)
	for _, id := range pairs {
		if p.byReference(shared, id) {
			shared++
			b = le.AppendUint32(b, uint32((base+p.xattrs.pairs[id].offset)/4))
		}
	}
	shared = 0
	for _, id := range pairs {
		if p.byReference(shared, id) {
			shared++
		} else {
			b = p.xattrs.appendEntry(b, id)
		}
	}
	return b
}

// emitBlocks writes the data blocks of an inode.
func (p *Plan) emitBlocks(e *emitter, i uint32) {
	in := &p.inodes[i]
	e.padTo(in.block*blockSize, "data block")
	switch n := in.node; {
	case in.kind == tree.Directory:
		p.emitDirectory(e, i, 0, in.blocks)
	case in.kind == tree.Symlink:
		e.buf = append(e.buf, n.Target...)
	case in.layout == layoutChunk:
		e.buf = appendHoles(e.buf, blockSize)
	default:
		e.buf = append(e.buf, n.Inline[:min(len(n.Inline), blockSize)]...)
	}
	e.padTo((in.block+int64(in.blocks))*blockSize, "end of data block")
}

// emitDirectory writes the blocks of a directory from first up to but not including last.
// They are as long as their entries; zeros fill the rest.
func (p *Plan) emitDirectory(e *emitter, dir, first, last uint32) {
	e.names.start(p.entries(dir))
	for i := range last {
		used := e.names.fill()
		if i < first {
			continue
		}
		e.buf = p.appendDirBlock(e.buf, dir, e.names.block)
		if i+1 < last {
			e.buf = appendZeros(e.buf, blockSize-used)
			e.spill()
		}
	}
}

func (p *Plan) appendDirBlock(b []byte, dir uint32, block []dirName) []byte {
	nameOffset := direntSize * len(block)
	for _, n := range block {
		target := &p.inodes[p.target(dir, n.entry)]
		b = binary.LittleEndian.AppendUint64(b, target.nid())
		b = binary.LittleEndian.AppendUint16(b, uint16(nameOffset))
		b = append(b, byte(target.kind), 0)
		nameOffset += len(n.name)
	}
	for _, n := range block {
		b = append(b, n.name...)
	}
	return b
}

// target returns the inode of a directory's entry.
func (p *Plan) target(dir uint32, entry int) uint32 {
	switch entry {
	case dotSelf:
		return dir
	case dotParent:
		return p.inodes[dir].parent
	}
	return p.targets[int(p.inodes[dir].targets)+entry]
}
