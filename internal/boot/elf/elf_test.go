package elf_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/boot/elf"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const script = "#!/bin/interpreter\n"

// ptInterp is PT_INTERP of elf(5).
const ptInterp = 3

// makeELF makes a program of one segment, at its end the interpreter: 64 or 32 bits
// wide.
func makeELF(order binary.ByteOrder, wide bool, kind uint32, interpreter string) []byte {
	header, segment, class := 52, 32, byte(1)
	if wide {
		header, segment, class = 64, 56, 2
	}
	b := make([]byte, header+segment)
	endian := byte(1)
	if order == binary.BigEndian {
		endian = 2
	}
	copy(b, "\x7fELF")
	b[4], b[5] = class, endian
	p := b[header:]
	order.PutUint32(p, kind)
	if wide {
		order.PutUint64(b[32:], uint64(header))
		order.PutUint16(b[54:], uint16(segment))
		order.PutUint16(b[56:], 1)
		order.PutUint64(p[8:], uint64(len(b)))
		order.PutUint64(p[32:], uint64(len(interpreter)))
	} else {
		order.PutUint32(b[28:], uint32(header))
		order.PutUint16(b[42:], uint16(segment))
		order.PutUint16(b[44:], 1)
		order.PutUint32(p[4:], uint32(len(b)))
		order.PutUint32(p[16:], uint32(len(interpreter)))
	}
	return append(b, interpreter...)
}

func TestTheInterpreterOfEveryKind(t *testing.T) {
	const ld = "/lib/ld.so\x00"
	good := func() []byte { return makeELF(binary.LittleEndian, true, ptInterp, ld) }
	change := func(at int, to ...byte) []byte { b := good(); copy(b[at:], to); return b }
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"64 bits", good(), "/lib/ld.so"},
		{"64 bits, big endian", makeELF(binary.BigEndian, true, ptInterp, ld), "/lib/ld.so"},
		{"32 bits", makeELF(binary.LittleEndian, false, ptInterp, ld), "/lib/ld.so"},
		{"32 bits, big endian", makeELF(binary.BigEndian, false, ptInterp, ld), "/lib/ld.so"},
		{"a static program", makeELF(binary.LittleEndian, true, 1, ld), ""},
		{"no program", []byte(script), ""},
		{"half a header", good()[:51], ""},
		{"no segment where one should be", good()[:70], ""},
		{"more segments than any program has", change(56, 0xff, 0xff), ""},
		{"segments that are too small", change(54, 8), ""},
		{"segments before the start", change(39, 0xff), ""},
		{"an interpreter beyond the end", change(64+8, 0xff), ""},
		{"an interpreter before the start", change(64+15, 0xff), ""},
		{"an endless interpreter", change(64+34, 0xff), ""},
		{"an interpreter without a directory", makeELF(binary.LittleEndian, true, ptInterp, "ld.so\x00"), ""},
	} {
		if got := elf.Interpreter(bytes.NewReader(c.text)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The interpreter of a program that its makers' linker has built.
func TestTheInterpreterIsWhatTheLinkerWrote(t *testing.T) {
	path := testutil.RequireTool(t, "mount")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := elf.Interpreter(f); !strings.Contains(got, "/ld-") {
		t.Errorf("%s: %q, want the dynamic linker", path, got)
	}
	if got := elf.Interpreter(strings.NewReader(script)); got != "" {
		t.Errorf("a script: %q", got)
	}
}

// Whatever a program says, what comes out is an absolute path or nothing.
func FuzzInterpreter(f *testing.F) {
	program := make([]byte, 160)
	copy(program, "\x7fELF\x02\x01")
	program[32], program[54], program[56], program[64], program[72], program[96] = 64, 56, 1, 3, 120, 10
	copy(program[120:], "/lib/ld.so\x00")
	f.Add(program)
	f.Fuzz(func(t *testing.T, program []byte) {
		if got := elf.Interpreter(bytes.NewReader(program)); got != "" && got[0] != '/' {
			t.Errorf("%q", got)
		}
	})
}
