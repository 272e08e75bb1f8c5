package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/composefs-go/composefs/internal/tree"
)

// A dirEntry is one entry of a directory in an image. The name is good as long as
// the image is.
type dirEntry struct {
	name []byte
	nid  uint64
	kind tree.Kind
	off  uint64 // in the image
}

// dirents calls each for every entry of the directory but the dots. It refuses
// names that are no names or out of order, on which the kernel's search relies.
func (i *record) dirents(parent uint64, each func(dirEntry) error) error {
	blocks, tail := i.blocks()
	if tail > 0 {
		blocks++
	}
	var last []byte
	for n := range blocks {
		b, err := i.part(n, "directory block")
		if err != nil {
			return err
		}
		if last, err = i.dirBlock(b, i.partOffset(n), last, parent, each); err != nil {
			return err
		}
	}
	return nil
}

// dirBlock goes through one block, which is at off in the image; last is the name
// before, and the result is the last name of the block.
func (i *record) dirBlock(b []byte, off uint64, last []byte, parent uint64, each func(dirEntry) error) ([]byte, error) {
	if len(b) < direntSize {
		return nil, i.faultAt(off, "directory block is too short", ErrCorrupt)
	}
	start := int(binary.LittleEndian.Uint16(b[8:]))
	if start == 0 || start%direntSize != 0 || start > len(b) {
		return nil, i.faultAt(off, fmt.Sprintf("directory block: names can't start at %d", start), ErrCorrupt)
	}
	for d := 0; d < start; d += direntSize {
		at := off + uint64(d)
		from, to := int(binary.LittleEndian.Uint16(b[d+8:])), len(b)
		if d+direntSize < start {
			to = int(binary.LittleEndian.Uint16(b[d+direntSize+8:]))
		}
		if from < start || from > to || to > len(b) {
			return nil, i.faultAt(at, "directory entry: name outside of the block", ErrCorrupt)
		}
		name := b[from:to]
		if to == len(b) {
			name, _, _ = bytes.Cut(name, []byte{0})
		}
		if bytes.Compare(last, name) >= 0 {
			return nil, i.faultAt(at, fmt.Sprintf("directory entry %.255q: not in order", name), ErrCorrupt)
		}
		last = name
		e := dirEntry{name, binary.LittleEndian.Uint64(b[d:]), tree.Kind(b[d+10]), at}
		if err := i.dirEntry(e, parent, each); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// dirEntry checks an entry and passes it on unless it is a dot.
func (i *record) dirEntry(e dirEntry, parent uint64, each func(dirEntry) error) error {
	want := parent
	switch string(e.name) {
	case ".":
		want = i.nid
	case "..":
	default:
		return each(e)
	}
	if e.nid != want {
		return i.faultAt(e.off, fmt.Sprintf("directory entry %q: want inode %d, found %d", e.name, want, e.nid), ErrCorrupt)
	}
	return nil
}
