package ukiparts_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const (
	amd64, arm64 = 0x8664, 0xaa64
	hex          = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100"
)

// wantError checks that an error says what it should; "" is for none.
func wantError(t *testing.T, err error, says string) {
	t.Helper()
	if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("want %q, found %v", says, err)
	}
}

// An image is given as its digest, or as the argument that names it.
func TestImageArgument(t *testing.T) {
	for _, test := range []struct{ image, want, says string }{
		{hex, "composefs.digest=v1-sha256-12:" + hex, ""},
		{"composefs=" + hex, "composefs=" + hex, ""},
		{"composefs.ref=debian/13", "composefs.ref=debian/13", ""},
		{hex[1:], "", "found 63"},
		{"stable", "", `want a digest, found "stable"`},
		{"composefs.ref=a quiet", "", "want a digest, composefs.digest=…"},
		{"root=x", "", "want a digest, composefs.digest=…"},
		{"composefs.digest=x", "", "malformed kernel command line"},
	} {
		got, err := ukiparts.ImageArgument(test.image)
		wantError(t, err, test.says)
		if got != test.want {
			t.Errorf("%s: found %q, want %q", test.image, got, test.want)
		}
	}
	var name *ukiparts.NoDigestError
	if _, err := ukiparts.ImageArgument("stable"); !errors.As(err, &name) || name.Name != "stable" {
		t.Errorf("found %v", err)
	}
}

// A command line that says neither how / shall be mounted gets ro, in front of what is for init.
func TestWithMode(t *testing.T) {
	for line, want := range map[string]string{
		"": "ro", "quiet": "ro quiet", "quiet rw": "quiet rw", "ro": "ro", "x -- rw": "ro x -- rw", `x="a ro b"`: `ro x="a ro b"`,
	} {
		if got := ukiparts.WithMode(line); got != want {
			t.Errorf("%q: found %q, want %q", line, got, want)
		}
	}
}

// withSection is a stub for a machine with one section more.
func withSection(t *testing.T, machine uint16, name string, data []byte) []byte {
	t.Helper()
	program, err := uki.Build(testutil.EFIStub(machine, ""), []uki.Section{{Name: name, Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func initrdOf(files fstest.MapFS) []byte { return testutil.Cpio(files) }

var someInitrd = initrdOf(fstest.MapFS{"etc/x": {Data: []byte("x"), Mode: 0o644}})

// A kernel is whole, and neither a UKI nor an initrd.
func TestCheckKernel(t *testing.T) {
	kernel := testutil.EFIStub(amd64, "")
	for _, test := range []struct {
		name    string
		content []byte
		says    string
	}{
		{"good", kernel, ""},
		{"a UKI", withSection(t, amd64, ".linux", kernel), "it is a UKI already"},
		{"an initrd", someInitrd, "it is an initrd"},
		{"half a kernel", kernel[:2050], "want a kernel: not a valid EFI program: section"},
		{"its DOS header", kernel[:64], "want a kernel: not a valid EFI program: want 24 bytes"},
		{"a text, which uki.Assemble refuses", []byte("text"), ""},
	} {
		t.Run(test.name, func(t *testing.T) { wantError(t, ukiparts.CheckKernel(test.content), test.says) })
	}
}

// An initrd can be unpacked, as far as that can be told.
func TestCheckInitrd(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(someInitrd); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		content []byte
		says    string
	}{
		{"good", someInitrd, ""},
		{"good, compressed", packed.Bytes(), ""},
		{"of a compression that isn't read here", []byte("BZh91AY"), ""},
		{"a program", testutil.EFIStub(amd64, ""), "it is an EFI program, perhaps a kernel"},
		{"a text", []byte("-----BEGIN CERTIFICATE-----\n"), "want an initrd: malformed initrd"},
		{"nothing", nil, "found none in 0 bytes"},
		{"half of it", someInitrd[:150], "want an initrd: malformed initrd"},
		{"half of it, compressed", packed.Bytes()[:packed.Len()/2], "want an initrd: malformed initrd"},
	} {
		t.Run(test.name, func(t *testing.T) { wantError(t, ukiparts.CheckInitrd(test.content), test.says) })
	}
}

// Each kind of program has a stub of its own. One that doesn't say what it is may be any.
func TestCheckStub(t *testing.T) {
	linux, addon := testutil.EFIStub(amd64, testutil.LinuxMagic), testutil.EFIStub(amd64, testutil.AddonMagic)
	for _, test := range []struct {
		name string
		stub []byte
		want uki.Stub
		says string
	}{
		{"of UKIs", linux, uki.StubLinux, ""},
		{"of addons", addon, uki.StubAddon, ""},
		{"of addons for a UKI", addon, uki.StubLinux, "the stub is systemd-addon, want systemd-stub"},
		{"of UKIs for an addon", linux, uki.StubAddon, "the stub is systemd-stub, want systemd-addon"},
		{"of somebody else", testutil.EFIStub(amd64, ""), uki.StubLinux, ""},
		{"cut short", linux[:2600], uki.StubLinux, "want a stub of systemd: not a valid EFI program: section"},
		{"no program", []byte("text"), uki.StubLinux, "want a stub of systemd: not a valid EFI program"},
	} {
		t.Run(test.name, func(t *testing.T) { wantError(t, ukiparts.CheckStub(test.stub, test.want), test.says) })
	}
	for _, test := range []struct {
		stub         uki.Stub
		goarch, want string
	}{
		{uki.StubLinux, "amd64", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"},
		{uki.StubAddon, "arm64", "/usr/lib/systemd/boot/efi/addonaa64.efi.stub"},
		{uki.StubLinux, "s390x", ""},
	} {
		if got := ukiparts.StubPath(test.stub, test.goarch); got != test.want {
			t.Errorf("%s for %s is at %q, want %q", test.stub, test.goarch, got, test.want)
		}
	}
}

// The programs of an initrd are for the kernel's machine, as far as that is known.
func TestCheckMachines(t *testing.T) {
	program := make([]byte, 64)
	copy(program, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(program[16:], 2)
	binary.LittleEndian.PutUint16(program[18:], 62) // x86-64
	binary.LittleEndian.PutUint32(program[20:], 1)
	binary.LittleEndian.PutUint16(program[52:], 64)
	initrd := initrdOf(fstest.MapFS{"init": {Data: program, Mode: 0o755}})
	for _, test := range []struct {
		name          string
		kernel, image []byte
		fails         bool
	}{
		{"the same", testutil.EFIStub(amd64, ""), initrd, false},
		{"others", testutil.EFIStub(arm64, ""), initrd, true},
		{"a machine that isn't known", testutil.EFIStub(0x1234, ""), initrd, false},
		{"no program in it", testutil.EFIStub(arm64, ""), someInitrd, false},
		{"no initrd", testutil.EFIStub(arm64, ""), nil, false},
		{"no kernel", nil, initrd, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := ukiparts.CheckMachines(test.kernel, test.image); errors.Is(err, uki.ErrArch) != test.fails || (err != nil) != test.fails {
				t.Errorf("found %v", err)
			}
		})
	}
}

// The other parts are what they have to be, and the whole of it.
func TestContentOfParts(t *testing.T) {
	bmp := append([]byte("BM\x20\x00\x00\x00"), make([]byte, 26)...)
	dtb := make([]byte, 48)
	binary.BigEndian.PutUint32(dtb, 0xd00dfeed)
	binary.BigEndian.PutUint32(dtb[4:], 48)
	const key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
	for _, test := range []struct {
		name    string
		check   func([]byte) error
		content string
		says    string
	}{
		{"os-release", ukiparts.CheckOSRelease, "# comment\nID=debian\n", ""},
		{"an empty os-release", ukiparts.CheckOSRelease, "", "want an os-release file: there is no line like ID=debian in it"},
		{"a text for os-release", ukiparts.CheckOSRelease, "Debian = good\n", "no line like"},
		{"a program for os-release", ukiparts.CheckOSRelease, "ID=a\n\x00", "it is not a text"},
		{"Latin-1 for os-release", ukiparts.CheckOSRelease, "ID=\xe4\n", "it is not a text"},

		{"a picture", ukiparts.CheckSplash, string(bmp), ""},
		{"a picture with more behind it", ukiparts.CheckSplash, string(bmp) + "x", ""},
		{"a picture cut short", ukiparts.CheckSplash, string(bmp[:31]), "it is cut short: it should have 32 bytes and has 31"},
		{"another picture", ukiparts.CheckSplash, "\x89PNG\r\n\x1a\n" + string(bmp), `it doesn't begin with "BM"`},
		{"the beginning of a picture", ukiparts.CheckSplash, "BM", `it doesn't begin with "BM"`},

		{"a device tree", ukiparts.CheckDeviceTree, string(dtb), ""},
		{"a device tree cut short", ukiparts.CheckDeviceTree, string(dtb[:47]), "it is cut short: it should have 48 bytes and has 47"},
		{"the source of a device tree", ukiparts.CheckDeviceTree, "/dts-v1/;\n/ { compatible = \"acme,one\"; };\n", "it doesn't begin with 0xd00dfeed"},
		{"nothing for a device tree", ukiparts.CheckDeviceTree, "", "it doesn't begin with 0xd00dfeed"},

		{"a public key", ukiparts.CheckPCRPublicKey, key, ""},
		{"a private key for the public one", ukiparts.CheckPCRPublicKey, strings.ReplaceAll(key, "PUBLIC", "PRIVATE"), `there is no block "BEGIN PUBLIC KEY" in it`},
		{"a key in DER", ukiparts.CheckPCRPublicKey, "\x30\x82", `there is no block`},

		{"signatures", ukiparts.CheckPCRSignature, `{"sha256": []}`, ""},
		{"a list for signatures", ukiparts.CheckPCRSignature, `[]`, "want PCR signatures, a JSON object: "},
		{"null for signatures", ukiparts.CheckPCRSignature, `null`, "it is null"},
		{"signatures cut short", ukiparts.CheckPCRSignature, `{"sha256": [`, "unexpected end of JSON input"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.check([]byte(test.content))
			wantError(t, err, test.says)
			if part := (*ukiparts.PartError)(nil); err != nil && !errors.As(err, &part) {
				t.Errorf("want a PartError, found %T", err)
			}
		})
	}
}

// The TPM's banks are named, and come in the order of the list of all.
func TestParseBanks(t *testing.T) {
	for text, want := range map[string]string{
		"": "sha1 sha256 sha384 sha512", "sha256": "sha256", "sha512,sha1": "sha1 sha512", "md5": "", "sha256,": "", "sha256,sha256": "",
	} {
		banks, err := ukiparts.ParseBanks(text)
		var names []string
		for _, b := range banks {
			names = append(names, b.Name)
		}
		if strings.Join(names, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%q: found %q, %v", text, names, err)
		}
	}
}

// The public key is the other half of the private one.
func TestPublicKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ukiparts.PublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := ukiparts.CheckPublicKey(text, key); err != nil {
		t.Error(err)
	}
	if err := ukiparts.CheckPublicKey(text, other); !errors.Is(err, ukiparts.ErrOtherKey) {
		t.Errorf("found %v", err)
	}
	wantError(t, ukiparts.CheckPublicKey(append(text, text...), key), "want one block")
	wantError(t, ukiparts.CheckPublicKey([]byte("text"), key), "want one block")
	_, curve, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := ukiparts.CheckPublicKey(text, curve); !errors.Is(err, ukiparts.ErrOtherKey) {
		t.Errorf("found %v", err)
	}
}
