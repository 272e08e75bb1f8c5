// Package elf finds the dynamic linker that a program names. Package debug/elf would do,
// but brings zlib along, which the initramfs does without.
package elf

import (
	"bytes"
	"encoding/binary"
	"io"
	"path"
)

// Limits on what is taken from an ELF header. The file is verified by now; they
// keep a strange one from costing memory.
const (
	maxSegments    = 256
	maxInterpreter = 4096
)

// ptInterp is the type of the segment that names the dynamic linker.
const ptInterp = 3

// Interpreter returns the path in a program's PT_INTERP segment, "" if it has
// none or isn't ELF.
//
//	header   e_ident[16] … phoff … phentsize phnum     32 or 64 bits wide
//	segment  type … offset … filesz …
func Interpreter(r io.ReaderAt) string {
	var h [64]byte
	if n, _ := r.ReadAt(h[:], 0); n < 52 || string(h[:4]) != "\x7fELF" {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if h[5] == 2 {
		order = binary.BigEndian
	}
	wide := h[4] == 2
	word := func(b []byte, narrow, at64 int) int64 {
		if wide {
			return int64(order.Uint64(b[at64:]))
		}
		return int64(order.Uint32(b[narrow:]))
	}
	phoff, entsize, phnum := word(h[:], 28, 32), order.Uint16(h[42:]), order.Uint16(h[44:])
	if wide {
		entsize, phnum = order.Uint16(h[54:]), order.Uint16(h[56:])
	}
	if phoff < 0 || phnum > maxSegments || entsize < 32 || (wide && entsize < 56) {
		return ""
	}
	for i := range int64(phnum) {
		var p [56]byte
		if n, _ := r.ReadAt(p[:], phoff+i*int64(entsize)); n < 32 {
			return ""
		}
		if order.Uint32(p[:]) == ptInterp {
			return readString(r, word(p[:], 4, 8), word(p[:], 16, 32))
		}
	}
	return ""
}

// readString reads an absolute path that ends in a zero byte.
func readString(r io.ReaderAt, off, size int64) string {
	if off < 0 || size < 2 || size > maxInterpreter {
		return ""
	}
	b := make([]byte, size)
	if n, _ := r.ReadAt(b, off); int64(n) < size {
		return ""
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	if !path.IsAbs(string(b)) {
		return ""
	}
	return string(b)
}
