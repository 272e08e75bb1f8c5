package uki_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// Where the test's programs have what signing is about.
const (
	testOptional = 0x80 + 24
	testSecurity = testOptional + 112 + 4*8
	testTable    = testOptional + 240
)

func mustSign(t testing.TB, program []byte, signature string) []byte {
	t.Helper()
	out, err := uki.AddSignature(program, []byte(signature))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustDigest(t testing.TB, program []byte) [32]byte {
	t.Helper()
	d, err := uki.Digest(program)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Signatures are found again in the order in which they were added, and none
// changes the digest; every byte of the program does.
func TestAddSignature(t *testing.T) {
	for _, test := range []struct {
		name   string
		behind string // bytes behind the sections
	}{{"plain", ""}, {"something behind the sections", "12345"}} {
		t.Run(test.name, func(t *testing.T) {
			plain := append(plainStub().bytes(), test.behind...)
			d := mustDigest(t, plain)
			program := plain
			for i, signature := range []string{"one", "another", "12345678"} {
				program = mustSign(t, program, signature)
				f, err := uki.Parse(bytes.NewReader(program))
				if err != nil {
					t.Fatal(err)
				}
				if len(f.Signatures) != i+1 || string(f.Signatures[i]) != signature || !f.Signed {
					t.Fatalf("found the signatures %q after adding %q", f.Signatures, signature)
				}
				if mustDigest(t, program) != d {
					t.Errorf("adding %q changed the digest", signature)
				}
			}
			for at := range plain {
				changed := bytes.Clone(program)
				changed[at] ^= 0x40
				got, err := uki.Digest(changed)
				if unsigned := at >= testOptional+64 && at < testOptional+68; err == nil && unsigned != (got == d) {
					t.Errorf("byte %#x changed, and the digest is the same: %v", at, got == d)
				}
			}
		})
	}
}

// Of files that can be read in more than one way, or not at all, no digest is told
// and none is signed.
func TestDigestRefuses(t *testing.T) {
	changed := func(b []byte, off int, v uint32) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	plain := plainStub().bytes()
	signed := mustSign(t, plain, "signature")
	for _, test := range []struct {
		name    string
		program []byte
		says    string
	}{
		{"no program", []byte("MZ"), "DOS header"},
		{"few directories", changed(plain, testOptional+108, 4), "4 data directories"},
		{"headers larger than the file", changed(plain, testOptional+60, 1<<30), "headers"},
		{"headers without the section table", changed(plain, testOptional+60, 64), "headers"},
		{"a gap before a section", changed(plain, testTable+20, 1536), `".text" begins at offset 0x600, want 0x400`},
		{"sections overlap", changed(plain, testTable+40+20, 1024), `".sbat" begins`},
		{"section longer than the file", changed(plain, testTable+40+16, 1<<20), "sections end"},
		{"something behind the signatures", append(bytes.Clone(signed), 0, 0, 0, 0, 0, 0, 0, 0), "not the end"},
		{"signatures inside the sections", changed(changed(plain, testSecurity, 1024), testSecurity+4, uint32(len(plain)-1024)), "sections end"},
		{"signatures past the end", changed(signed, testSecurity, 1<<30), "not the end"},
		{"offset of signatures overflows", changed(changed(signed, testSecurity, 1<<32-8), testSecurity+4, 1<<32-8), "not the end"},
		{"odd offset of signatures", changed(changed(append(bytes.Clone(plain), 1, 2, 3, 4, 5), testSecurity, uint32(len(plain)+1)), testSecurity+4, 4), "not the end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := uki.Digest(test.program); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", uki.ErrFormat, test.says, err)
			}
			if _, err := uki.AddSignature(test.program, []byte("x")); !errors.Is(err, uki.ErrFormat) {
				t.Errorf("it is signed: %v", err)
			}
		})
	}
	for name, size := range map[string]int{"empty": 0, "huge": 1 << 20} {
		if _, err := uki.AddSignature(plain, make([]byte, size)); !errors.Is(err, uki.ErrFormat) {
			t.Errorf("%s signature: want %q, found %v", name, uki.ErrFormat, err)
		}
	}
}

// A certificate table that lies about itself is refused, whatever it costs to read.
func TestParseRefusesCertificates(t *testing.T) {
	plain := plainStub().bytes()
	with := func(table []byte, size uint32) []byte {
		b := append(bytes.Clone(plain), table...)
		binary.LittleEndian.PutUint32(b[testSecurity:], uint32(len(plain)))
		binary.LittleEndian.PutUint32(b[testSecurity+4:], size)
		return b
	}
	row := func(length uint32) []byte { return binary.LittleEndian.AppendUint32(nil, length) }
	empty := append(row(8), 0, 2, 2, 0)
	for _, test := range []struct {
		name    string
		program []byte
		says    string
	}{
		{"no size", with(nil, 0), "0 bytes"},
		{"huge", with(nil, 1<<31), "want 1 to"},
		{"past the end", with(empty, 16), "end of the file"},
		{"shorter than a row", with(row(8), 4), "ends with 4 bytes"},
		{"row shorter than its header", with(append(row(7), 0, 2, 2, 0), 8), "7 bytes"},
		{"row longer than the table", with(append(row(1<<31), 0, 2, 2, 0), 8), "want 8 to 8"},
		{"too many", with(bytes.Repeat(empty, 65), 65*8), "more than 64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := uki.Parse(bytes.NewReader(test.program)); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", uki.ErrFormat, test.says, err)
			}
		})
	}
	other := with(append(row(16), 0, 2, 0xf1, 0x0e, 1, 2, 3, 4, 5, 6, 7, 8), 16)
	if f, err := uki.Parse(bytes.NewReader(other)); err != nil || len(f.Signatures) != 0 || !f.Signed {
		t.Errorf("a signature of another type: found %v and error %v, want none of PKCS #7", f, err)
	}
}

// A program without its signatures is what it was before them, whether they are whole
// or not; a list that isn't whole gets no further one.
func TestRemoveSignatures(t *testing.T) {
	plain := plainStub().bytes()
	signed := mustSign(t, mustSign(t, plain, "one"), "another")
	broken := bytes.Clone(signed)
	binary.LittleEndian.PutUint32(broken[len(plain):], 1<<20) // the length of the first
	for name, program := range map[string][]byte{"signed": signed, "broken": broken, "plain": plain} {
		if out, err := uki.RemoveSignatures(program); err != nil || !bytes.Equal(out, plain) {
			t.Errorf("%s: found another program, or error %v", name, err)
		}
	}
	if list, err := uki.Signatures(signed); err != nil || len(list) != 2 || string(list[1]) != "another" {
		t.Errorf("found %q, error %v", list, err)
	}
	if _, err := uki.Signatures(broken); !errors.Is(err, uki.ErrFormat) {
		t.Errorf("broken: want %v, found %v", uki.ErrFormat, err)
	}
	if _, err := uki.AddSignature(broken, []byte("x")); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), "a signature is said to have 1048576 bytes") {
		t.Errorf("broken: want %v, found %v", uki.ErrFormat, err)
	}
	if _, err := uki.RemoveSignatures(append(bytes.Clone(signed), 0)); !errors.Is(err, uki.ErrFormat) {
		t.Errorf("something behind the signatures: want %v, found %v", uki.ErrFormat, err)
	}
}

// sbattach takes out what we put in.
func TestSbattachAgrees(t *testing.T) {
	sbattach := testutil.RequireTool(t, "sbattach")
	name := put(t, mustSign(t, mustRead(t, realUKI(t)), "signature of 24 bytes...."))
	if out, err := exec.Command(sbattach, "--detach", name+".sig", "--remove", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := mustRead(t, name+".sig"); !bytes.HasPrefix(got, []byte("signature of 24 bytes....")) {
		t.Errorf("sbattach finds the signature %q", got)
	}
	if mustDigest(t, mustRead(t, name)) != mustDigest(t, mustRead(t, realUKI(t))) {
		t.Error("the digest without signature is another")
	}
}

// Microcode and other optional parts; several initrds are one.
func TestJoinInitrds(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []string
		want string
	}{
		{"none", nil, ""}, {"one", []string{"12345"}, "12345"},
		{"two", []string{"12345", "1234"}, "12345\x00\x00\x001234"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var in [][]byte
			for _, s := range test.in {
				in = append(in, []byte(s))
			}
			if got := uki.JoinInitrds(in...); string(got) != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// An addon must add something that the loader can use.
func TestAssembleAddonRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		o    uki.Options
		says string
	}{
		{"nothing", uki.Options{Stub: plainStub().bytes()}, "adds nothing"},
		{"no stub", uki.Options{Cmdline: "quiet"}, "read the stub"},
		{"two lines", uki.Options{Stub: plainStub().bytes(), Cmdline: "a\nb"}, "position 1"},
		{"SBAT of another kind", uki.Options{Stub: plainStub().bytes(), Cmdline: "a", SBAT: []byte("ours")}, "sbat,"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := uki.AssembleAddon(test.o); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error saying %q, found %v", test.says, err)
			}
		})
	}
}

// The line about UKIs is left out where the stub has no room, and others aren't.
func TestSBATWithoutRoom(t *testing.T) {
	small := plainStub()
	small.sections[1].data = sbatFirst + "\n" + strings.Repeat("systemd,1,stub\n", 25)
	out, err := uki.Assemble(uki.Options{Stub: small.bytes(), Linux: kernel("6.1")})
	if err != nil {
		t.Fatal(err)
	}
	f, err := uki.Parse(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := f.Section(".sbat"); string(got) != small.sections[1].data {
		t.Errorf(".sbat is %q, want that of the stub", got)
	}
	out, err = uki.Assemble(uki.Options{Stub: small.bytes(), Linux: kernelWithSBAT("k,1\n")})
	if err != nil {
		t.Fatal(err)
	}
	if f, err = uki.Parse(bytes.NewReader(out)); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.Section(".sbat"); string(got) != small.sections[1].data+"k,1\n\x00" {
		t.Errorf(".sbat is %q, want that of stub and kernel", got)
	}
	if _, err := uki.Assemble(uki.Options{Stub: small.bytes(), Linux: kernel("6.1"), SBAT: []byte("sbat,1\n" + strings.Repeat("ours,1\n", 20))}); !errors.Is(err, uki.ErrNoRoom) {
		t.Errorf("lines that were asked for: want %q, found %v", uki.ErrNoRoom, err)
	}
}

// kernelWithSBAT is a kernel with SBAT lines of its own.
func kernelWithSBAT(lines string) []byte {
	s := plainStub()
	s.sections[1].data = sbatFirst + "\n" + lines
	return s.bytes()
}

// A .sbat that isn't one, in stub or kernel, is an error that says where.
func TestAssembleRefusesSBAT(t *testing.T) {
	wrong := plainStub()
	wrong.sections[1].data = "nonsense"
	cut := plainStub().bytes()
	binary.LittleEndian.PutUint32(cut[testTable+40+20:], 1<<20)
	for _, test := range []struct {
		name        string
		stub, linux []byte
		says        string
	}{
		{"of the stub", wrong.bytes(), kernel("6.1"), ".sbat of the stub"},
		{"of the kernel", plainStub().bytes(), wrong.bytes(), ".sbat of the kernel"},
		{"past the end of the kernel", plainStub().bytes(), cut, ".sbat of the kernel"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := uki.Assemble(uki.Options{Stub: test.stub, Linux: test.linux}); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error saying %q, found %v", test.says, err)
			}
		})
	}
}
