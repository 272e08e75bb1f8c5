package erofs

import (
	"encoding/binary"

	"github.com/composefs-go/composefs/internal/tree"
)

// names goes through the entries of a directory and the two dots, in order, one
// block at a time.
type names struct {
	entries []tree.Entry
	next    int     // of entries
	dots    int     // how many are gone by
	block   []named // the current block
}

// A named is one entry: its name, and which of entries it is, or one of the dots.
type named struct {
	name  string
	entry int
}

// The two entries that every directory has besides those of its node.
const (
	dotSelf   = -1
	dotParent = -2
)

// start begins with another directory.
func (s *names) start(entries []tree.Entry) { s.entries, s.next, s.dots = entries, 0, 0 }

func (s *names) done() bool { return s.next == len(s.entries) && s.dots == 2 }

// peek returns the next entry; there must be one. Names may sort before "." and
// between the dots.
func (s *names) peek() named {
	if s.dots < 2 {
		dot := named{".."[:s.dots+1], -1 - s.dots}
		if s.next == len(s.entries) || dot.name < s.entries[s.next].Name {
			return dot
		}
	}
	return named{s.entries[s.next].Name, s.next}
}

// fill makes block of as many entries as fit, and returns how many bytes they
// need; 0 when no entries are left.
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

// emitDirectory writes the blocks first to last, exclusive, of a directory. They
// are as long as their entries; what follows them is filled up with zeros.
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

func (p *Plan) appendDirBlock(b []byte, dir uint32, block []named) []byte {
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

// target returns the inode that an entry of a directory leads to.
func (p *Plan) target(dir uint32, entry int) uint32 {
	switch entry {
	case dotSelf:
		return dir
	case dotParent:
		return p.inodes[dir].parent
	}
	return p.targets[int(p.inodes[dir].targets)+entry]
}
