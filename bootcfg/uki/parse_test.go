package uki_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// A damaged program is refused as such, and no header makes Parse read past the end.
func TestParseRefuses(t *testing.T) {
	damaged := func(off int, v uint32) []byte {
		b := plainStub().bytes()
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	const optional, table = 0x80 + 24, 0x80 + 24 + 240
	for name, b := range map[string][]byte{
		"empty":               nil,
		"not a program":       bytes.Repeat([]byte{'x'}, 4096),
		"header far away":     damaged(0x3c, 0xfffffff0),
		"header past the end": damaged(0x3c, 0xf000),
		"other magic":         damaged(optional, 0x107),
		"too many sections":   damaged(0x80+4, 0xffff0000),
		"no optional header":  damaged(0x80+20, 0),
		"short for its kind":  damaged(0x80+20, 100),
		"optional header cut": plainStub().bytes()[:0x80+24+10],
		"section past end":    damaged(table+20, 0x7ffffe00),
		"sections overlap":    damaged(table+40+20, 1024),
		"cut":                 plainStub().bytes()[:1500],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := uki.Parse(bytes.NewReader(b)); !errors.Is(err, uki.ErrFormat) {
				t.Errorf("want %v, found %v", uki.ErrFormat, err)
			}
		})
	}
}

// broken is a file that can't be read from a certain offset on.
type broken struct {
	content []byte
	from    int64
}

var errBroken = errors.New("input/output error")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.from {
		return 0, errBroken
	}
	return bytes.NewReader(b.content).ReadAt(p, off)
}

// An error of the disk is told as such, not as one of the format.
func TestParseReportsDisk(t *testing.T) {
	for name, from := range map[string]int64{"headers": 0, "sections": 1024} {
		t.Run(name, func(t *testing.T) {
			if _, err := uki.Parse(broken{plainStub().bytes(), from}); !errors.Is(err, errBroken) || errors.Is(err, uki.ErrFormat) {
				t.Errorf("want %v, found %v", errBroken, err)
			}
		})
	}
}

// A 32-bit program has its directories elsewhere; one that stops short of them can
// be read, and has none.
func TestParse32(t *testing.T) {
	b := plainStub().bytes()
	binary.LittleEndian.PutUint16(b[testOptional:], 0x10b)
	f, err := uki.Parse(bytes.NewReader(b))
	if err != nil || f.Signed {
		t.Errorf("found %v, error %v", f, err)
	}
	if _, ok := f.Section(".none"); ok {
		t.Error("it has a section that isn't there")
	}
	if _, err := uki.Digest(b); !errors.Is(err, uki.ErrFormat) {
		t.Errorf("want %q, found %v", uki.ErrFormat, err)
	}
}

// Whatever Parse accepts isn't larger than the file; what Build makes of any stub
// is read back with the section that was added; and what has a digest keeps it when
// it is signed, and the signature is found again.
func FuzzParse(f *testing.F) {
	f.Add(plainStub().bytes())
	with := plainStub()
	with.symbols = 3
	f.Add(with.bytes())
	f.Add(kernel("6.12"))
	f.Add(mustSign(f, mustSign(f, plainStub().bytes(), "signature"), "another"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := uki.Parse(bytes.NewReader(b))
		if err == nil {
			total := 0
			for _, s := range file.Sections {
				total += len(s.Data)
			}
			if total > len(b) {
				t.Fatalf("%d bytes of sections in a file of %d", total, len(b))
			}
		}
		_, _ = uki.KernelVersion(b)
		checkSigning(t, b)
		out, err := uki.Build(b, []uki.Section{{Name: ".fuzz", Data: []byte("added")}})
		if err != nil {
			return
		}
		built, err := uki.Parse(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("Build made what Parse refuses: %v", err)
		}
		if got, _ := built.Section(".fuzz"); string(got) != "added" {
			t.Fatalf("the added section reads %q", got)
		}
	})
}

func checkSigning(t *testing.T, program []byte) {
	d, err := uki.Digest(program)
	if err != nil {
		return
	}
	signed, err := uki.AddSignature(program, []byte("added"))
	if err != nil {
		return // the table is full
	}
	if after, err := uki.Digest(signed); err != nil || after != d {
		t.Fatalf("signing changed the digest from %x to %x, error %v", d, after, err)
	}
	f, err := uki.Parse(bytes.NewReader(signed))
	if err != nil {
		return // Parse looks at more than is signed
	}
	if n := len(f.Signatures); n == 0 || string(f.Signatures[n-1]) != "added" {
		t.Fatalf("the signature that was added isn't the last of %d", n)
	}
}
