package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Section characteristics (IMAGE_SCN_…) and flags of the headers.
const (
	scnCode            = 0x00000020
	scnInitializedData = 0x00000040
	scnRead            = 0x40000000

	dllNXCompat = 0x0100
	symbolSize  = 18 // of a row of the symbol table
)

// The causes when Build refuses a stub or sections.
var (
	ErrSigned   = errors.New("the stub is signed")
	ErrNoRoom   = errors.New("no room in the stub")
	ErrSections = errors.New("sections don't fit together")
)

// Build adds sections to an EFI stub, in the order given, and returns the new EFI program. A
// .sbat section replaces the stub's own, if it fits there; any other name that the stub has
// already is refused. A name may be repeated after a .profile section, see Profile. The same input
// gives the same bytes.
func Build(stub []byte, sections []Section) ([]byte, error) {
	p, err := readProgram(bytes.NewReader(stub))
	if err != nil {
		return nil, fmt.Errorf("read the stub: %w", err)
	}
	if err := p.checkStub(len(stub)); err != nil {
		return nil, err
	}
	if err := p.checkSections(sections); err != nil {
		return nil, err
	}
	b := builder{program: p, out: p.stripSymbols(stub), own: len(p.sections)}
	b.setU32(optSizeOfHeaders, alignUp(p.u32(optSizeOfHeaders), p.u32(optFileAlignment)))
	b.out = slices.Grow(b.out, totalSize(sections))
	for _, s := range sections {
		if err := b.add(s); err != nil {
			return nil, fmt.Errorf("add section %q: %w", s.Name, err)
		}
	}
	return b.finish(), nil
}

// builder is the program under construction: headers apart from the file's bytes.
type builder struct {
	*program
	out []byte
	own int // number of the stub's own sections
}

func totalSize(sections []Section) (n int) {
	for _, s := range sections {
		n += len(s.Data) + 4096
	}
	return n
}

func alignUp(x, align uint32) uint32 { return (x + align - 1) &^ (align - 1) }

// checkStub refuses a stub that sections can't be added to.
func (p *program) checkStub(size int) error {
	if p.signed() {
		return fmt.Errorf("%w: adding sections would break its signature", ErrSigned)
	}
	for _, off := range []int{optFileAlignment, optSectionAlignment} {
		if a := p.u32(off); a == 0 || a&(a-1) != 0 || a > 1<<16 {
			return formatError("an alignment of the stub is %#x, want a power of 2 up to 0x10000", a)
		}
	}
	if p.u32(optFileAlignment) > p.u32(optSectionAlignment) {
		return formatError("the stub's file alignment %#x is larger than its section alignment %#x", p.u32(optFileAlignment), p.u32(optSectionAlignment))
	}
	for _, s := range p.sections {
		if (s.rawOffset|s.rawSize)&(p.u32(optFileAlignment)-1) != 0 {
			return formatError("the stub's section %q is not aligned to %#x in the file, as in stubs before systemd 252 and in stripped ones", s.name, p.u32(optFileAlignment))
		}
		if uint64(s.rawOffset)+uint64(s.rawSize) > uint64(size) {
			return formatError("the stub's section %q ends past the end of the file", s.name)
		}
		if s.rawSize > 0 && s.rawOffset < p.u32(optSizeOfHeaders) {
			return formatError("the stub's section %q begins inside the headers", s.name)
		}
	}
	if p.u32(optSizeOfHeaders) > uint32(size) || p.tableEnd() > int64(p.u32(optSizeOfHeaders)) {
		return formatError("the stub's headers have %d bytes, which is not where they end", p.u32(optSizeOfHeaders))
	}
	return errors.Join(p.checkOverlap(), p.checkMemory())
}

func (p *program) tableEnd() int64 {
	return p.tableOffset() + int64(len(p.sections))*sectionHeaderSize
}

// checkSections refuses names that can't stand in a section table or stand there already.
func (p *program) checkSections(sections []Section) error {
	seen := make(map[string]bool)
	for _, s := range sections {
		if s.Name == sectionProfile {
			clear(seen)
		}
		switch {
		case s.Name == "" || len(s.Name) > nameSize || strings.ContainsFunc(s.Name, notPrintable):
			return fmt.Errorf("%w: want a name of 1 to %d printable characters, found %q", ErrSections, nameSize, s.Name)
		case seen[s.Name] && s.Name != sectionDTBAuto:
			return fmt.Errorf("%w: section %q is given twice", ErrSections, s.Name)
		case s.Name != ".sbat" && p.find(s.Name) >= 0:
			return fmt.Errorf("%w: the stub already has a section %q", ErrSections, s.Name)
		case len(s.Data) == 0:
			return fmt.Errorf("%w: section %q is empty", ErrSections, s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

// stripSymbols returns a copy of the stub without the symbol table that older
// ones have at their end; a program has no use for it.
func (p *program) stripSymbols(stub []byte) []byte {
	start := int64(binary.LittleEndian.Uint32(p.file[fileSymbolTable:]))
	strs := start + symbolSize*int64(binary.LittleEndian.Uint32(p.file[fileNumberOfSymbols:]))
	if start < int64(p.u32(optSizeOfHeaders)) || strs+4 > int64(len(stub)) || strs+int64(binary.LittleEndian.Uint32(stub[strs:])) != int64(len(stub)) {
		return slices.Clone(stub)
	}
	for _, s := range p.sections {
		if int64(s.rawOffset)+int64(s.rawSize) > start {
			return slices.Clone(stub)
		}
	}
	clear(p.file[fileSymbolTable : fileNumberOfSymbols+4])
	return slices.Clone(stub[:start])
}

func (b *builder) add(s Section) error {
	if i := b.find(s.Name); i >= 0 && i < b.own {
		return b.replace(i, s.Data)
	}
	if b.tableEnd()+sectionHeaderSize > int64(b.headerRoom()) {
		return fmt.Errorf("%w: its headers end at %#x and hold %d sections",
			ErrNoRoom, b.headerRoom(), len(b.sections))
	}
	align := b.u32(optFileAlignment)
	start, addr := uint64(alignUp(uint32(len(b.out)), align)), b.nextAddress()
	end := start + uint64(len(s.Data)) + uint64(align)
	if end > math.MaxInt32 || addr+uint64(len(s.Data))+uint64(b.u32(optSectionAlignment)) > math.MaxInt32 {
		return fmt.Errorf("%w: the program would have more than 2 GiB", ErrSections)
	}
	b.out = append(b.out, make([]byte, start-uint64(len(b.out)))...)
	b.out = append(b.out, s.Data...)
	raw := alignUp(uint32(len(s.Data)), align)
	b.out = append(b.out, make([]byte, raw-uint32(len(s.Data)))...)
	b.sections = append(b.sections, section{
		name: s.Name, virtualSize: uint32(len(s.Data)), virtualAddr: uint32(addr),
		rawSize: raw, rawOffset: uint32(start), characteristics: characteristics(s.Name),
	})
	b.setU32(optSizeOfInitializedData, b.u32(optSizeOfInitializedData)+uint32(len(s.Data)))
	if s.Name == ".linux" {
		b.matchNX(s.Data)
	}
	return nil
}

// characteristics returns a section's flags: a kernel may be run where it lies,
// everything else is data. Nothing is writable.
func characteristics(name string) uint32 {
	if name == ".linux" {
		return scnRead | scnCode
	}
	return scnRead | scnInitializedData
}

// headerRoom returns where the headers must end: at SizeOfHeaders, or where the
// first section's bytes begin.
func (b *builder) headerRoom() uint32 {
	room := b.u32(optSizeOfHeaders)
	for _, s := range b.sections {
		if s.rawSize > 0 {
			room = min(room, s.rawOffset)
		}
	}
	return room
}

// nextAddress returns the first aligned address after all sections.
func (b *builder) nextAddress() uint64 {
	var end uint64
	for _, s := range b.sections {
		end = max(end, uint64(s.virtualAddr)+uint64(s.memorySize()))
	}
	align := uint64(b.u32(optSectionAlignment))
	return (end + align - 1) &^ (align - 1)
}

// room returns how many bytes a section can have where it is, both in the file
// and in memory before the next section.
func (p *program) room(i int) int {
	s := p.sections[i]
	room := s.rawSize
	for _, other := range p.sections {
		if other.virtualAddr > s.virtualAddr {
			room = min(room, other.virtualAddr-s.virtualAddr)
		}
	}
	return int(room)
}

// replace puts other data into a section of the stub, which must fit both in
// the file and in memory before the next section.
func (b *builder) replace(i int, data []byte) error {
	s, room := &b.sections[i], b.room(i)
	if len(data) > room {
		return fmt.Errorf("%w: want %d bytes, found %d in the stub's own section", ErrNoRoom, len(data), room)
	}
	old := b.out[s.rawOffset : s.rawOffset+s.rawSize]
	clear(old[copy(old, data):])
	s.virtualSize = uint32(len(data))
	return nil
}

// matchNX clears the stub's NX_COMPAT flag when the kernel doesn't have it:
// firmware that enforces the flag on the stub would stop the kernel.
func (b *builder) matchNX(linux []byte) {
	kernel, err := readProgram(bytes.NewReader(linux))
	if err != nil {
		return // what a kernel must be is the business of Assemble
	}
	if binary.LittleEndian.Uint16(kernel.optional[optDllCharacteristics:])&dllNXCompat == 0 {
		flags := binary.LittleEndian.Uint16(b.optional[optDllCharacteristics:])
		binary.LittleEndian.PutUint16(b.optional[optDllCharacteristics:], flags&^dllNXCompat)
	}
}

// finish writes the headers over the stub's.
func (b *builder) finish() []byte {
	binary.LittleEndian.PutUint16(b.file[fileNumberOfSections:], uint16(len(b.sections)))
	b.setU32(optSizeOfImage, uint32(b.nextAddress()))
	b.setU32(optCheckSum, 0) // firmware doesn't look at it, and signing would change it
	header := slices.Concat(b.file, b.optional)
	for _, s := range b.sections {
		header = s.append(header)
	}
	copy(b.out[b.peOffset:], header)
	return b.out
}
