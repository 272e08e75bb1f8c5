package uki_test

import (
	"bytes"
	"encoding/binary"
)

// stub is a small PE32+ program for tests, as a linker would lay it out.
type stub struct {
	fileAlign, sectionAlign uint32
	headers                 uint32 // SizeOfHeaders
	signature               uint32 // offset in the data directory, 0: none
	machine                 uint16
	nx                      bool
	sections                []stubSection
	symbols                 int // rows of a symbol table at the end
}

type stubSection struct {
	name    string
	data    string
	address uint32
}

// plainStub has room for a dozen sections.
func plainStub() stub {
	return stub{fileAlign: 512, sectionAlign: 4096, headers: 1024, machine: 0x8664, nx: true, sections: []stubSection{
		{".text", "code", 0x1000},
		{".sbat", sbatFirst + "\nsystemd,1,stub\n", 0x2000},
	}}
}

const sbatFirst = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md"

func (s stub) bytes() []byte {
	const lfanew, optionalSize = 0x80, 240
	b := make([]byte, s.headers)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], lfanew)
	file := b[lfanew:]
	copy(file, "PE\x00\x00")
	le.PutUint16(file[4:], s.machine)
	le.PutUint16(file[6:], uint16(len(s.sections)))
	le.PutUint16(file[20:], optionalSize)
	le.PutUint16(file[22:], 0x206)
	optional := file[24:]
	le.PutUint16(optional, 0x20b)
	le.PutUint32(optional[32:], s.sectionAlign)
	le.PutUint32(optional[36:], s.fileAlign)
	le.PutUint32(optional[60:], s.headers)
	le.PutUint16(optional[68:], 10) // EFI application
	if s.nx {
		le.PutUint16(optional[70:], 0x100)
	}
	le.PutUint32(optional[108:], 16)
	le.PutUint32(optional[112+4*8:], s.signature)
	table := optional[optionalSize:]
	for i, sec := range s.sections {
		row := table[40*i:]
		copy(row[:8], sec.name)
		le.PutUint32(row[8:], uint32(len(sec.data)))
		le.PutUint32(row[12:], sec.address)
		raw := (uint32(len(sec.data)) + s.fileAlign - 1) &^ (s.fileAlign - 1)
		le.PutUint32(row[16:], raw)
		le.PutUint32(row[20:], uint32(len(b)))
		le.PutUint32(row[36:], 0x40000040)
		b = append(b, sec.data...)
		b = append(b, make([]byte, int(raw)-len(sec.data))...)
		file, table = b[lfanew:], b[lfanew+24+optionalSize:]
	}
	if s.symbols > 0 {
		le.PutUint32(file[12:], uint32(len(b)))
		le.PutUint32(file[16:], uint32(s.symbols))
		b = append(b, bytes.Repeat([]byte{0x55}, 18*s.symbols)...)
		b = append(b, 4, 0, 0, 0)
	}
	return b
}

// kernel is a bzImage in so far as it has the two headers that are read.
func kernel(version string) []byte {
	s := stub{fileAlign: 512, sectionAlign: 4096, headers: 4096, machine: 0x8664, nx: true, sections: []stubSection{{".text", "kernel", 0x1000}}}
	b := s.bytes()
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x600)
	copy(b[0x800:], version+" (builder@host) #1 SMP\x00")
	return b
}
