package uki_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// systemdStub is where the distributions have it.
const systemdStub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"

func sections() []uki.Section {
	return []uki.Section{
		{Name: ".osrel", Data: []byte("ID=debian\n")},
		{Name: ".cmdline", Data: []byte("quiet")},
		{Name: ".initrd", Data: bytes.Repeat([]byte("initrd"), 3000)},
		{Name: ".linux", Data: kernel("6.12.1")},
	}
}

// What Build puts in, Parse finds, and the stub's own sections are still there.
func TestBuildThenParse(t *testing.T) {
	for name, s := range map[string]stub{
		"plain":             plainStub(),
		"symbol table":      func() stub { s := plainStub(); s.symbols = 7; return s }(),
		"small alignment":   func() stub { s := plainStub(); s.sectionAlign = 512; return s }(),
		"unaligned headers": func() stub { s := plainStub(); s.fileAlign = 32; s.headers = 1000 &^ 31; return s }(),
	} {
		t.Run(name, func(t *testing.T) {
			out, err := uki.Build(s.bytes(), sections())
			if err != nil {
				t.Fatal(err)
			}
			f, err := uki.Parse(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			want := append([]uki.Section{
				{Name: ".text", Data: []byte("code")},
				{Name: ".sbat", Data: []byte(sbatFirst + "\nsystemd,1,stub\n")},
			}, sections()...)
			if len(f.Sections) != len(want) || f.Machine != 0x8664 || f.Signed {
				t.Fatalf("found %d sections, machine %#x, signed %v", len(f.Sections), f.Machine, f.Signed)
			}
			for i, s := range f.Sections {
				if s.Name != want[i].Name || !bytes.Equal(s.Data, want[i].Data) {
					t.Errorf("section %d is %q with %d bytes, want %q with %d", i, s.Name, len(s.Data), want[i].Name, len(want[i].Data))
				}
			}
			again, err := uki.Build(s.bytes(), sections())
			if err != nil || !bytes.Equal(out, again) {
				t.Errorf("a second build differs, error %v", err)
			}
		})
	}
}

// What would give a program that firmware or the stub can't use is refused.
func TestBuildRefuses(t *testing.T) {
	one := func(name, data string) []uki.Section { return []uki.Section{{Name: name, Data: []byte(data)}} }
	crowded := plainStub()
	crowded.headers = 512
	crowded.sections = append(crowded.sections, stubSection{".third", "x", 0x3000})
	tight := plainStub()
	tight.sections = append(tight.sections, stubSection{".after", "x", 0x2000 + 0x100})
	tight.sectionAlign = 256
	tight.fileAlign = 256
	for _, test := range []struct {
		name     string
		stub     stub
		sections []uki.Section
		want     error
		says     string
	}{
		{"long name", plainStub(), one(".toolongname", "x"), uki.ErrSections, ".toolongname"},
		{"no name", plainStub(), one("", "x"), uki.ErrSections, "1 to 8"},
		{"name with a newline", plainStub(), one(".a\nb", "x"), uki.ErrSections, "printable"},
		{"no data", plainStub(), one(".linux", ""), uki.ErrSections, "empty"},
		{"twice", plainStub(), append(one(".a", "x"), one(".a", "x")...), uki.ErrSections, "twice"},
		{"the stub's", plainStub(), one(".text", "x"), uki.ErrSections, "already"},
		{"signed stub", func() stub { s := plainStub(); s.signature = 4096; return s }(), one(".a", "x"), uki.ErrSigned, "would break its signature"},
		{"no room in the headers", crowded, one(".a", "x"), uki.ErrNoRoom, "hold"},
		{"no room for .sbat in the file", plainStub(), one(".sbat", strings.Repeat("x", 1000)), uki.ErrNoRoom, "1000"},
		{"no room for .sbat in memory", tight, one(".sbat", strings.Repeat("x", 300)), uki.ErrNoRoom, "found 256"},
		{"odd alignment", func() stub { s := plainStub(); s.sectionAlign = 4097; return s }(), one(".a", "x"), uki.ErrFormat, "power of 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := uki.Build(test.stub.bytes(), test.sections)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", test.want, test.says, err)
			}
		})
	}
}

// A stub whose headers don't fit the file is refused, with what is wrong with it.
func TestBuildRefusesStub(t *testing.T) {
	for _, test := range []struct {
		name   string
		change map[int]uint32 // offset to value
		says   string
	}{
		{"file alignment above that of sections", map[int]uint32{testOptional + 36: 8192}, "larger than its section alignment"},
		{"section not aligned in the file", map[int]uint32{testTable + 16: 511}, "not aligned"},
		{"section past the end", map[int]uint32{testTable + 40 + 16: 1 << 20}, "past the end"},
		{"section inside the headers", map[int]uint32{testTable + 20: 512}, "inside the headers"},
		{"headers longer than the file", map[int]uint32{testOptional + 60: 1 << 20, testTable + 16: 0, testTable + 40 + 16: 0}, "not where they end"},
		{"sections overlap", map[int]uint32{testTable + 40 + 20: 1024}, "overlap"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := plainStub().bytes()
			for off, v := range test.change {
				binary.LittleEndian.PutUint32(b[off:], v)
			}
			if _, err := uki.Build(b, sections()); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", uki.ErrFormat, test.says, err)
			}
		})
	}
}

// What looks like a symbol table and is the content of a section stays.
func TestBuildKeepsWhatIsNoSymbolTable(t *testing.T) {
	s := plainStub()
	s.symbols = 2
	b := s.bytes()
	binary.LittleEndian.PutUint32(b[testTable+40+16:], uint32(1024)) // .sbat now ends behind it
	b = append(b, make([]byte, 1024)...)
	binary.LittleEndian.PutUint32(b[len(b)-1024-4:], 1024+4)
	out, err := uki.Build(b, []uki.Section{{Name: ".cmdline", Data: []byte("quiet")}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(out[2048:], b[2048:]) {
		t.Error("the end of the stub is gone")
	}
}

// The stub's .sbat is replaced where it lies.
func TestBuildReplacesSBAT(t *testing.T) {
	out, err := uki.Build(plainStub().bytes(), []uki.Section{{Name: ".sbat", Data: []byte("other")}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := uki.Parse(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := f.Section(".sbat"); string(got) != "other" || len(f.Sections) != 2 {
		t.Errorf("found %q in %d sections", got, len(f.Sections))
	}
}

// realUKI builds on the machine's systemd-stub and returns the file.
func realUKI(t *testing.T) string {
	t.Helper()
	testutil.RequireFile(t, systemdStub)
	stub := testutil.ReadFile(t, systemdStub)
	out, err := uki.Build(stub, sections())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "uki.efi")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// binutils reads our sections out of a UKI, with the flags they must have.
func TestObjdumpAgrees(t *testing.T) {
	objdump := testutil.RequireTool(t, "objdump")
	out, err := exec.Command(objdump, "-h", realUKI(t)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	for _, want := range [][2]string{{".osrel", "READONLY, DATA"}, {".cmdline", "READONLY, DATA"}, {".initrd", "00004650"}, {".linux", "READONLY, CODE"}} {
		found := false
		for i, line := range lines {
			found = found || strings.Contains(line, want[0]+" ") && strings.Contains(line+lines[i+1], want[1])
		}
		if !found {
			t.Errorf("objdump doesn't show %s with %s:\n%s", want[0], want[1], out)
		}
	}
}

// A UKI can be signed for Secure Boot, and the signature verifies.
func TestSbsignAgrees(t *testing.T) {
	sign, verify, openssl := testutil.RequireTool(t, "sbsign"), testutil.RequireTool(t, "sbverify"), testutil.RequireTool(t, "openssl")
	name := realUKI(t)
	dir := t.TempDir()
	key, cert, signed := filepath.Join(dir, "key"), filepath.Join(dir, "cert"), filepath.Join(dir, "signed.efi")
	for _, args := range [][]string{
		{openssl, "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test"},
		{sign, "--key", key, "--cert", cert, "--output", signed, name},
		{verify, "--cert", cert, signed},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	r, err := os.Open(signed)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := uki.Parse(r)
	if err != nil || !f.Signed {
		t.Fatalf("want a signed program, found signed %v, error %v", f != nil && f.Signed, err)
	}
	content, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uki.Build(content, []uki.Section{{Name: ".extra", Data: []byte("x")}}); !errors.Is(err, uki.ErrSigned) {
		t.Errorf("adding to a signed UKI: want %v, found %v", uki.ErrSigned, err)
	}
}
