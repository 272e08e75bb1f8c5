package uki

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Offsets and sizes of PE/COFF that are used here. Those of the optional header
// are the same in PE32 and PE32+ but for the data directories.
const (
	dosHeaderSize  = 64
	dosLfanew      = 0x3c // where the PE header is
	fileHeaderSize = 24   // "PE\0\0" and IMAGE_FILE_HEADER

	fileNumberOfSections = 6
	fileSymbolTable      = 12
	fileNumberOfSymbols  = 16
	fileOptionalSize     = 20

	optSizeOfInitializedData = 8
	optSectionAlignment      = 32
	optFileAlignment         = 36
	optSizeOfImage           = 56
	optSizeOfHeaders         = 60
	optCheckSum              = 64
	optDllCharacteristics    = 70
	optDirectories32         = 96
	optDirectories64         = 112
	directorySecurity        = 4 // the row of the signatures
	directorySize            = 8

	sectionHeaderSize = 40
	nameSize          = 8

	magicPE32     = 0x10b
	magicPE32Plus = 0x20b
)

// Limits on what is believed of a file before memory is spent on it.
const (
	maxLfanew       = 1 << 16
	maxOptionalSize = 1 << 12
	maxSections     = 512
)

// ErrFormat is the cause when a file isn't a well-formed EFI (PE) program.
var ErrFormat = errors.New("not a valid EFI program")

// section is struct IMAGE_SECTION_HEADER, without what object files alone use.
//
//	0        8          12       16       20       24    36                40
//	+--------+----------+--------+--------+--------+-----+-----------------+
//	| Name   | VirtSize | VirtAd | RawSiz | RawPtr |  0  | Characteristics |
type section struct {
	name                     string
	virtualSize, virtualAddr uint32
	rawSize, rawOffset       uint32
	characteristics          uint32
}

// program is the headers of a PE file.
type program struct {
	peOffset  int64  // of "PE\0\0"
	file      []byte // "PE\0\0" and IMAGE_FILE_HEADER
	optional  []byte
	directory int // offset of the data directories in optional
	sections  []section
}

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// readAt reads n bytes, which must be there.
func readAt(r io.ReaderAt, off int64, n int, what string) ([]byte, error) {
	b := make([]byte, n)
	got, err := r.ReadAt(b, off)
	if got == n {
		return b, nil
	}
	if err == io.EOF || err == nil {
		return nil, formatError("want %d bytes of %s at offset %#x, found the end of the file after %d", n, what, off, got)
	}
	return nil, fmt.Errorf("read %s at offset %#x: %w", what, off, err)
}

// readProgram reads and checks the headers.
func readProgram(r io.ReaderAt) (*program, error) {
	dos, err := readAt(r, 0, dosHeaderSize, "the DOS header")
	if err != nil {
		return nil, err
	}
	if string(dos[:2]) != "MZ" {
		return nil, formatError(`want "MZ" at offset 0, found %q`, dos[:2])
	}
	p := &program{peOffset: int64(binary.LittleEndian.Uint32(dos[dosLfanew:]))}
	if p.peOffset > maxLfanew {
		return nil, formatError("the PE header is at offset %#x, want at most %#x", p.peOffset, maxLfanew)
	}
	if p.file, err = readAt(r, p.peOffset, fileHeaderSize, "the PE header"); err != nil {
		return nil, err
	}
	if string(p.file[:4]) != "PE\x00\x00" {
		return nil, formatError(`want "PE\0\0" at offset %#x, found %q`, p.peOffset, p.file[:4])
	}
	if err := p.readOptional(r); err != nil {
		return nil, err
	}
	return p, p.readSections(r)
}

func (p *program) readOptional(r io.ReaderAt) (err error) {
	size := int(binary.LittleEndian.Uint16(p.file[fileOptionalSize:]))
	if size < optDirectories32 || size > maxOptionalSize {
		return formatError("the optional header has %d bytes, want %d to %d", size, optDirectories32, maxOptionalSize)
	}
	if p.optional, err = readAt(r, p.peOffset+fileHeaderSize, size, "the optional header"); err != nil {
		return err
	}
	switch magic := binary.LittleEndian.Uint16(p.optional); magic {
	case magicPE32:
		p.directory = optDirectories32
	case magicPE32Plus:
		p.directory = optDirectories64
	default:
		return formatError("the optional header's magic is %#x, want %#x or %#x", magic, magicPE32, magicPE32Plus)
	}
	if size < p.directory {
		return formatError("the optional header has %d bytes, want at least %d", size, p.directory)
	}
	return nil
}

func (p *program) readSections(r io.ReaderAt) error {
	n := int(binary.LittleEndian.Uint16(p.file[fileNumberOfSections:]))
	if n == 0 || n > maxSections {
		return formatError("it has %d sections, want 1 to %d", n, maxSections)
	}
	table, err := readAt(r, p.tableOffset(), n*sectionHeaderSize, "the section table")
	if err != nil {
		return err
	}
	for ; len(table) > 0; table = table[sectionHeaderSize:] {
		u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(table[off:]) }
		name, _, _ := strings.Cut(string(table[:nameSize]), "\x00") // what is behind it, the stub doesn't look at
		p.sections = append(p.sections, section{
			name:        name,
			virtualSize: u32(8), virtualAddr: u32(12), rawSize: u32(16), rawOffset: u32(20), characteristics: u32(36),
		})
	}
	return nil
}

// append adds the section as a row of the section table to b.
func (s section) append(b []byte) []byte {
	var row [sectionHeaderSize]byte
	copy(row[:nameSize], s.name)
	for _, field := range []struct {
		off   int
		value uint32
	}{{8, s.virtualSize}, {12, s.virtualAddr}, {16, s.rawSize}, {20, s.rawOffset}, {36, s.characteristics}} {
		binary.LittleEndian.PutUint32(row[field.off:], field.value)
	}
	return append(b, row[:]...)
}

// tableOffset returns where the section table begins.
func (p *program) tableOffset() int64 {
	return p.peOffset + fileHeaderSize + int64(len(p.optional))
}

func (p *program) u32(off int) uint32 { return binary.LittleEndian.Uint32(p.optional[off:]) }

func (p *program) setU32(off int, v uint32) { binary.LittleEndian.PutUint32(p.optional[off:], v) }

// signed reports whether the program carries an Authenticode signature.
func (p *program) signed() bool {
	offset, size := p.certificateTable()
	return offset != 0 || size != 0
}

// find returns the index of the named section, -1 when there is none.
func (p *program) find(name string) int {
	for i := range p.sections {
		if p.sections[i].name == name {
			return i
		}
	}
	return -1
}
