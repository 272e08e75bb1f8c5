package doctor_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// efiStub is systemd's, from the package systemd-boot-efi. It serves as a kernel too:
// both are EFI programs.
const efiStub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"

var (
	validFrom = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(2034, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Each thing that firmware, boot loader and stub need of a UKI, taken away once, is a
// finding of its own.
func TestWhatAUKINeeds(t *testing.T) {
	testutil.RequireFile(t, efiStub)
	stub, err := os.ReadFile(efiStub)
	if err != nil {
		t.Fatal(err)
	}
	key, certificate := newCertificate(t)
	put := func(name string, data []byte) func([]uki.Section) []uki.Section {
		return func(sections []uki.Section) []uki.Section {
			i := slices.IndexFunc(sections, func(s uki.Section) bool { return s.Name == name })
			sections[i].Data = data
			return sections
		}
	}
	without := func(name string) func([]uki.Section) []uki.Section {
		return func(sections []uki.Section) []uki.Section {
			return slices.DeleteFunc(sections, func(s uki.Section) bool { return s.Name == name })
		}
	}
	add := func(name string, data []byte) func([]uki.Section) []uki.Section {
		return func(sections []uki.Section) []uki.Section {
			return slices.Insert(sections, 0, uki.Section{Name: name, Data: data})
		}
	}
	arm := bytes.Clone(stub)
	at := int(arm[0x3c]) | int(arm[0x3d])<<8
	arm[at+4], arm[at+5] = 0x64, 0xaa
	image := testutil.Cpio(asInit(t, setupRoot(t, "GOARCH=amd64")))
	for _, test := range []struct {
		name   string
		change func([]uki.Section) []uki.Section
		after  func([]byte) []byte // what happens to the signed file
		now    time.Time
		want   string
		says   string
	}{
		{name: "good"},
		{name: "unsigned", after: func([]byte) []byte { return nil }, want: "?unsigned", says: "no Secure Boot signature"},
		{name: "signed, then changed", after: func(b []byte) []byte {
			i := bytes.Index(b, []byte("PRETTY_NAME"))
			b[i+13] ^= 1
			return b
		}, want: "signature", says: "signature of another program"},
		{name: "certificate that has expired", now: validTo.Add(time.Hour), want: "?certificate", says: "has expired on 2034-01-01"},
		{name: "certificate that isn't valid yet", now: validFrom.Add(-time.Hour), want: "?certificate", says: "valid only from 2024-01-01"},
		{name: "filled with zeros", after: func(b []byte) []byte { clear(b[2:]); return b }, want: "uki", says: "PE"},
		{name: "cut off", after: func(b []byte) []byte { return b[:len(b)/2] }, want: "uki", says: "end of the file"},

		{name: "no kernel", change: without(".linux"), want: "kernel", says: "there is no kernel"},
		{name: "a kernel of zeros", change: put(".linux", make([]byte, 1<<16)), want: "kernel", says: "can't start the kernel"},
		{name: "a kernel of text", change: put(".linux", []byte(strings.Repeat("text\n", 1000))), want: "kernel", says: "can't start the kernel"},
		{name: "a kernel for another machine", change: put(".linux", arm), want: "kernel", says: "the kernel is for arm64, the rest for amd64"},
		{name: "a kernel of an unknown version", change: without(".uname"), want: "?kernel-version", says: "doesn't say its version"},
		{name: "a kernel without its modules", change: put(".uname", []byte("6.13.0-other")), want: "kernel", says: "the kernel is 6.13.0-other, the modules in the initrd are for 6.12.1-test"},

		{name: "no initrd", change: without(".initrd"), want: "initrd", says: "there is no initrd"},
		{name: "an initrd of nothing", change: put(".initrd", []byte{0}), want: "initrd", says: "malformed initrd"},
		{name: "an initrd of zeros", change: put(".initrd", make([]byte, 4096)), want: "initrd", says: "malformed initrd"},
		{name: "no command line", change: without(".cmdline"), want: "?cmdline", says: "the boot loader decides"},

		{name: "microcode", change: add(".ucode", testutil.Cpio(fstest.MapFS{"kernel/x86/microcode/GenuineIntel.bin": text("x")})), want: ""},
		{name: "a key with the microcode", change: add(".ucode", testutil.Cpio(fstest.MapFS{"kernel/x86/microcode/GenuineIntel.bin": text("x"), keyFile: text("x")})), want: "microcode", says: `"usr" is not below kernel/x86/microcode`},
		{name: "another first program", change: put(".cmdline", []byte(goodLine+" rdinit=/bin/sh")), want: "rdinit", says: "rdinit=/bin/sh"},

		{name: "no name for a menu", change: without(".osrel"), want: "?os-release", says: "systemd-boot leaves it out"},
		{name: "an empty name", change: put(".osrel", []byte("PRETTY_NAME=\"\"\nVERSION_ID=1\n")), want: "?os-release", says: "neither PRETTY_NAME"},
		{name: "another name", change: put(".osrel", []byte("# comment\n ID=debian\n\x00\x00")), want: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			sections := []uki.Section{
				{Name: ".osrel", Data: []byte("PRETTY_NAME=\"Test\"\n")}, {Name: ".cmdline", Data: []byte(goodLine)}, {Name: ".uname", Data: []byte("6.12.1-test")},
				{Name: ".initrd", Data: image}, {Name: ".linux", Data: stub},
			}
			if test.change != nil {
				sections = test.change(sections)
			}
			program, err := uki.Build(stub, sections)
			if err != nil {
				t.Fatal(err)
			}
			signed := signUKI(t, program, key, certificate)
			if test.after != nil {
				if signed = test.after(signed); signed == nil {
					signed = program
				}
			}
			if test.now.IsZero() {
				test.now = validFrom.Add(time.Hour)
			}
			e := doctor.Examiner{Arch: "amd64", Now: test.now}
			wantOne(t, e.UKI(bytes.NewReader(signed)), test.want, test.says)
		})
	}
}

func newCertificate(t *testing.T) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ours"}, NotBefore: validFrom, NotAfter: validTo}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

func signUKI(t *testing.T, program []byte, key *rsa.PrivateKey, certificate *x509.Certificate) []byte {
	t.Helper()
	digest, err := uki.Digest(program)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := secureboot.Sign(digest, key, []*x509.Certificate{certificate})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := uki.AddSignature(program, signature)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
