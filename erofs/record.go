package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/internal/tree"
)

// kinds maps the file type of a mode, its bits 12 to 15, to a kind.
var kinds = [16]tree.Kind{
	0o01: tree.FIFO, 0o02: tree.CharDevice, 0o04: tree.Directory, 0o06: tree.BlockDevice,
	0o10: tree.Regular, 0o12: tree.Symlink, 0o14: tree.Socket,
}

// A record is an inode as the image has it, of either form.
type record struct {
	image    *Image
	nid      uint64
	kind     tree.Kind
	perm     uint16
	layout   uint8
	extended bool
	nlink    uint32
	uid, gid uint32
	u, ino   uint32
	size     uint64
	mtime    tree.Time
	xattrs   uint64 // where the xattr area starts
	data     uint64 // where the tail starts, behind the xattrs
}

func (i *record) offset() uint64 { return i.nid * slotSize }

// fault makes an error about the inode itself.
func (i *record) fault(what string, err error) error { return i.faultAt(i.offset(), what, err) }

// faultAt makes an error about something of the inode that is elsewhere.
func (i *record) faultAt(off uint64, what string, err error) error {
	return &FormatError{int64(i.nid), int64(off), what, err}
}

// at is Image.at with errors that name the inode.
func (i *record) at(off, n uint64, what string) ([]byte, error) {
	b, err := i.image.at(off, n, what)
	if err != nil {
		return nil, i.own(err)
	}
	return b, nil
}

// own makes an error about the image one about the inode.
func (i *record) own(err error) error {
	var e *FormatError
	if errors.As(err, &e) {
		return &FormatError{int64(i.nid), e.Offset, e.What, e.Err}
	}
	return err
}

// inode reads the inode of the given number.
func (m *Image) inode(nid uint64) (*record, error) {
	i := &record{image: m, nid: nid}
	if nid > m.size/slotSize {
		return nil, i.fault("number beyond the image", ErrCorrupt)
	}
	b, err := i.at(i.offset(), compactSize, "inode")
	if err != nil {
		return nil, err
	}
	format := binary.LittleEndian.Uint16(b)
	if i.extended = format&1 != 0; i.extended {
		if b, err = i.at(i.offset(), extendedSize, "inode"); err != nil {
			return nil, err
		}
		i.decodeExtended(b)
	} else {
		i.decodeCompact(b)
	}
	mode := binary.LittleEndian.Uint16(b[4:])
	i.kind, i.perm = kinds[mode>>12], mode&0o7777
	if i.kind == 0 {
		return nil, i.fault(fmt.Sprintf("mode %#o has no file type", mode), ErrCorrupt)
	}
	i.xattrs = i.offset() + uint64(len(b))
	i.data = i.xattrs
	if count := uint64(binary.LittleEndian.Uint16(b[2:])); count > 0 {
		i.data += xattrHeaderSize + 4*(count-1)
	}
	if format>>1 != layoutPlain && format>>1 != layoutInline && (format>>1 != layoutChunk || i.kind != tree.Regular) {
		return nil, i.fault(fmt.Sprintf("data layout %d", format>>1), ErrUnsupported)
	}
	i.layout = uint8(format >> 1)
	return i, nil
}

func (i *record) decodeCompact(b []byte) {
	le := binary.LittleEndian
	i.nlink, i.size = uint32(le.Uint16(b[6:])), uint64(le.Uint32(b[8:]))
	i.u, i.ino = le.Uint32(b[16:]), le.Uint32(b[20:])
	i.uid, i.gid = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
	i.mtime = i.image.buildTime()
}

func (i *record) decodeExtended(b []byte) {
	le := binary.LittleEndian
	i.size, i.u, i.ino = le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:])
	i.uid, i.gid = le.Uint32(b[24:]), le.Uint32(b[28:])
	i.mtime = tree.Time{Sec: int64(le.Uint64(b[32:])), Nsec: le.Uint32(b[40:])}
	i.nlink = le.Uint32(b[44:])
}

// buildTime returns the time of inodes that have none of their own.
func (m *Image) buildTime() tree.Time {
	return tree.Time{Sec: m.super.BuildTime, Nsec: m.super.BuildTimeNsec}
}

// blocks returns how many data blocks the inode has, and how many bytes of data
// behind itself. The last block of plain data need not be full.
func (i *record) blocks() (blocks, tail uint64) {
	switch {
	case i.layout == layoutChunk || i.size == 0 || !i.hasData():
		return 0, 0
	case i.layout == layoutInline:
		return (i.size - 1) / blockSize, (i.size-1)%blockSize + 1
	}
	return (i.size-1)/blockSize + 1, 0
}

// hasData reports whether the kind of file has data in an image at all.
func (i *record) hasData() bool {
	return i.kind == tree.Directory || i.kind == tree.Regular || i.kind == tree.Symlink
}

// part returns the n-th block of data, or the tail behind the last block.
func (i *record) part(n uint64, what string) ([]byte, error) {
	blocks, tail := i.blocks()
	if n < blocks {
		tail = min(i.size-n*blockSize, blockSize)
	}
	return i.at(i.partOffset(n), tail, what)
}

// partOffset returns where the n-th part of the data is.
func (i *record) partOffset(n uint64) uint64 {
	if blocks, _ := i.blocks(); n == blocks && i.layout == layoutInline {
		return i.data
	}
	return (uint64(i.u) + n) * blockSize
}

// content returns all data of an inode that may have up to most bytes of it.
func (i *record) content(most uint64, what string) ([]byte, error) {
	if i.size > most {
		return nil, i.fault(fmt.Sprintf("%s: want at most %d bytes, found %d", what, most, i.size), ErrUnsupported)
	}
	if i.size == 0 {
		return nil, nil
	}
	first, err := i.part(0, what)
	if err != nil || uint64(len(first)) == i.size {
		return first, err
	}
	all := append(make([]byte, 0, i.size), first...)
	for n := uint64(1); uint64(len(all)) < i.size; n++ {
		p, err := i.part(n, what)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}
