package doctor

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"strings"
)

// An executable is what the kernel and the dynamic linker read of an ELF file: its
// segments. Sections, which are for linkers and debuggers, are left alone.
type executable struct {
	machine     elf.Machine
	interpreter string   // the dynamic linker, "" if it needs none
	needed      []string // libraries
	paths       []string // directories that it wants them to be looked for in
}

// Limits on what is taken from a program.
const (
	maxDynamic = 1 << 16 // bytes of its table
	maxStrings = 1 << 22 // bytes of its strings
)

var errNotELF = errors.New("it is neither an ELF program nor a script")

// readExecutable reads an ELF file, whose header it changes.
func readExecutable(content []byte) (*executable, error) {
	if !bytes.HasPrefix(content, []byte(elf.ELFMAG)) {
		return nil, errNotELF
	}
	hideSections(content)
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	p := &executable{machine: f.Machine}
	for _, s := range f.Progs {
		switch s.Type {
		case elf.PT_INTERP:
			name, err := io.ReadAll(io.LimitReader(s.Open(), maxDynamic))
			if err != nil {
				return nil, err
			}
			p.interpreter = cString(name)
		case elf.PT_DYNAMIC:
			table, err := io.ReadAll(io.LimitReader(s.Open(), maxDynamic))
			if err != nil {
				return nil, err
			}
			p.dynamic(f, table)
		}
	}
	return p, nil
}

// hideSections has the header say that there are none: debug/elf unpacks compressed
// ones, of any size.
func hideSections(content []byte) {
	shoff, width, counts := 0x20, 4, 0x30 // where a 32-bit header has them
	if len(content) > elf.EI_CLASS && elf.Class(content[elf.EI_CLASS]) == elf.ELFCLASS64 {
		shoff, width, counts = 0x28, 8, 0x3c
	}
	if len(content) >= counts+4 {
		clear(content[shoff : shoff+width])
		clear(content[counts : counts+4])
	}
}

// dynamic reads the table of the dynamic linker: pairs of tag and value.
func (p *executable) dynamic(f *elf.File, table []byte) {
	word := func(b []byte) uint64 { return uint64(f.ByteOrder.Uint32(b)) }
	width := 4
	if f.Class == elf.ELFCLASS64 {
		word, width = f.ByteOrder.Uint64, 8
	}
	var needed, paths []uint64
	var at, size uint64
	for ; len(table) >= 2*width && elf.DynTag(word(table)) != elf.DT_NULL; table = table[2*width:] {
		value := word(table[width:])
		switch elf.DynTag(word(table)) {
		case elf.DT_NEEDED:
			needed = append(needed, value)
		case elf.DT_RUNPATH, elf.DT_RPATH:
			paths = append(paths, value)
		case elf.DT_STRTAB:
			at = value
		case elf.DT_STRSZ:
			size = value
		}
	}
	text := stringsAt(f, at, min(size, maxStrings))
	p.needed = namesIn(text, needed)
	for _, list := range namesIn(text, paths) {
		p.paths = append(p.paths, strings.Split(list, ":")...)
	}
}

// stringsAt returns what a program has in memory at an address.
func stringsAt(f *elf.File, address, size uint64) []byte {
	for _, s := range f.Progs {
		if s.Type != elf.PT_LOAD || address < s.Vaddr || address-s.Vaddr >= s.Filesz {
			continue
		}
		from := address - s.Vaddr
		text, err := io.ReadAll(io.NewSectionReader(s, int64(from), int64(min(size, s.Filesz-from))))
		if err != nil {
			return nil
		}
		return text
	}
	return nil
}

// namesIn returns the strings that begin at the offsets.
func namesIn(text []byte, offsets []uint64) []string {
	var names []string
	for _, o := range offsets {
		if o < uint64(len(text)) {
			names = append(names, cString(text[o:]))
		}
	}
	return names
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
