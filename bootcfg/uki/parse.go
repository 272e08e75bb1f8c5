package uki

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// A Section is a named part of a UKI. Data is without the padding that the file
// has after it.
type Section struct {
	Name string // at most 8 bytes, as in ".cmdline"
	Data []byte
}

// A File is an EFI program, read by Parse.
type File struct {
	Machine    uint16 // IMAGE_FILE_MACHINE_…: 0x8664 x86-64, 0xaa64 arm64, 0x5064 riscv64
	Signed     bool   // it carries an Authenticode signature, which may be worthless
	Sections   []Section
	Signatures [][]byte // PKCS #7, DER; sign/secureboot verifies them
}

// Section returns the data of the first section of that name, and whether there is one.
func (f *File) Section(name string) ([]byte, bool) {
	for _, s := range f.Sections {
		if s.Name == name {
			return s.Data, true
		}
	}
	return nil, false
}

// Parse reads an EFI program and all its sections, including the stub's own. It never takes
// more memory than a small multiple of the file's size, whatever the headers claim.
func Parse(r io.ReaderAt) (*File, error) {
	p, err := readProgram(r)
	if err != nil {
		return nil, err
	}
	if err := p.checkOverlap(); err != nil {
		return nil, err
	}
	if err := p.checkMemory(); err != nil {
		return nil, err
	}
	f := &File{Machine: binary.LittleEndian.Uint16(p.file[4:]), Signed: p.signed()}
	for _, s := range p.sections {
		data, err := s.read(r)
		if err != nil {
			return nil, err
		}
		f.Sections = append(f.Sections, Section{Name: s.name, Data: data})
	}
	f.Signatures, err = p.readSignatures(r)
	return f, err
}

// readSignatures reads the certificate table.
func (p *program) readSignatures(r io.ReaderAt) ([][]byte, error) {
	offset, size := p.certificateTable()
	if offset == 0 && size == 0 {
		return nil, nil
	}
	if size == 0 || size > maxCertificateTable {
		return nil, formatError("its certificate table has %d bytes, want 1 to %d", size, maxCertificateTable)
	}
	table, err := readAt(r, int64(offset), int(size), "the certificate table")
	if err != nil {
		return nil, err
	}
	return signatures(table)
}

// dataSize returns how much of the section's bytes in the file is its content.
func (s section) dataSize() int64 {
	// Old linkers write a virtual size of 0: then all of the raw data counts.
	if s.virtualSize != 0 && s.virtualSize < s.rawSize {
		return int64(s.virtualSize)
	}
	return int64(s.rawSize)
}

// read returns the section's content. The buffer grows with what is really
// there, so that a size alone costs nothing.
func (s section) read(r io.ReaderAt) ([]byte, error) {
	want := s.dataSize()
	data, err := io.ReadAll(io.NewSectionReader(r, int64(s.rawOffset), want))
	if err != nil {
		return nil, fmt.Errorf("read section %q at offset %#x: %w", s.name, s.rawOffset, err)
	}
	if int64(len(data)) != want {
		return nil, formatError("section %q wants %d bytes at offset %#x, found the end of the file after %d", s.name, want, s.rawOffset, len(data))
	}
	return data, nil
}

// checkOverlap refuses sections that share bytes of the file: no linker makes
// them, and a small file would otherwise read as a huge one.
func (p *program) checkOverlap() error {
	byOffset := slices.Clone(p.sections)
	slices.SortStableFunc(byOffset, func(a, b section) int { return cmp.Compare(a.rawOffset, b.rawOffset) })
	var end int64
	var last string
	for _, s := range byOffset {
		if s.rawSize == 0 {
			continue
		}
		if int64(s.rawOffset) < end {
			return formatError("sections %q and %q overlap at offset %#x of the file", last, s.name, s.rawOffset)
		}
		end, last = int64(s.rawOffset)+int64(s.rawSize), s.name
	}
	return nil
}

// memorySize returns how much memory firmware gives the section.
func (s section) memorySize() uint32 {
	if s.virtualSize == 0 {
		return s.rawSize
	}
	return s.virtualSize
}

// checkMemory refuses sections that are elsewhere in memory than in the file, or
// share memory: the stub reads them there, and would find other content in them.
func (p *program) checkMemory() error {
	byAddress := slices.Clone(p.sections)
	slices.SortStableFunc(byAddress, func(a, b section) int { return cmp.Compare(a.virtualAddr, b.virtualAddr) })
	var end uint64
	var last string
	for _, s := range byAddress {
		size := s.memorySize()
		if size == 0 {
			continue
		}
		if s.virtualSize == 0 && slices.Contains(unified, s.name) {
			return formatError("section %q has %d bytes in the file and none in memory", s.name, s.rawSize)
		}
		if uint64(s.virtualAddr) < end {
			return formatError("sections %q and %q overlap at address %#x", last, s.name, s.virtualAddr)
		}
		end, last = uint64(s.virtualAddr)+uint64(size), s.name
	}
	return nil
}
