package uki_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// Assemble puts the parts in the order that boots, and finds out the kernel version.
func TestAssemble(t *testing.T) {
	out, err := uki.Assemble(uki.Options{
		Stub: plainStub().bytes(), Linux: kernel("6.12.0-1+b~1-amd64"), Initrd: []byte("cpio"),
		Cmdline: "quiet rw\n", OSRelease: []byte("ID=x\n"), SBAT: []byte(sbatFirst + "\nours,1,us\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := uki.Parse(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range f.Sections {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), ".text .sbat .osrel .cmdline .uname .initrd .linux"; got != want {
		t.Errorf("sections are %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		".cmdline": "quiet rw", ".uname": "6.12.0-1+b~1-amd64", ".initrd": "cpio",
		".sbat": sbatFirst + "\nsystemd,1,stub\nours,1,us\n\x00",
	} {
		if got, ok := f.Section(name); !ok || string(got) != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// Parts that make something that won't boot are refused with the reason.
func TestAssembleRefuses(t *testing.T) {
	good := uki.Options{Stub: plainStub().bytes(), Linux: kernel("6.1"), Cmdline: "quiet"}
	arm := plainStub()
	arm.machine = 0xaa64
	for _, test := range []struct {
		name   string
		change func(*uki.Options)
		says   string
	}{
		{"no kernel", func(o *uki.Options) { o.Linux = nil }, "no kernel"},
		{"compressed kernel", func(o *uki.Options) { o.Linux = []byte("\x1f\x8b" + strings.Repeat("x", 100)) }, "CONFIG_EFI_STUB"},
		{"no stub", func(o *uki.Options) { o.Stub = nil }, "read the stub"},
		{"stub of another machine", func(o *uki.Options) { o.Stub = arm.bytes() }, "0xaa64"},
		{"command line of two lines", func(o *uki.Options) { o.Cmdline = "a\nb\n" }, "position 1"},
		{"SBAT of another kind", func(o *uki.Options) { o.SBAT = []byte("ours,1\n") }, "sbat,"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := good
			test.change(&o)
			if _, err := uki.Assemble(o); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error saying %q, found %v", test.says, err)
			}
		})
	}
}

// A kernel that isn't marked NX_COMPAT takes the mark from the whole UKI.
func TestAssembleMatchesNX(t *testing.T) {
	flags := func(b []byte) uint16 { return binary.LittleEndian.Uint16(b[0x80+24+70:]) }
	for _, test := range []struct {
		name string
		nx   bool
		want uint16
	}{{"kernel with NX_COMPAT", true, 0x100}, {"kernel without", false, 0}} {
		t.Run(test.name, func(t *testing.T) {
			k := kernel("6.1")
			if !test.nx {
				binary.LittleEndian.PutUint16(k[0x80+24+70:], 0)
			}
			out, err := uki.Assemble(uki.Options{Stub: plainStub().bytes(), Linux: k})
			if err != nil || flags(out) != test.want {
				t.Errorf("flags %#x, want %#x, error %v", flags(out), test.want, err)
			}
		})
	}
}

// A kernel that isn't compressed has its version in what it prints first.
func TestKernelVersionFromBanner(t *testing.T) {
	image := []byte("MZ" + strings.Repeat("\x00", 600) + "Linux version %s (%s)\x00Linux version 2.0 or newer\x00Linux version \x00.Linux version 6.12.48-arm64 (b@h) #1 SMP\n\x00")
	if v, err := uki.KernelVersion(image); err != nil || v != "6.12.48-arm64" {
		t.Errorf("found %q, error %v", v, err)
	}
}

func TestKernelVersionRefuses(t *testing.T) {
	past := kernel("6.1")
	binary.LittleEndian.PutUint16(past[0x20e:], 0xffff)
	for name, k := range map[string][]byte{
		"empty": nil, "text": bytes.Repeat([]byte("x"), 1000), "string past the end": past,
		"odd characters": kernel("6.1\x01\x02"), "only a format string": []byte("Linux version %s"), "no string": kernel(""),
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := uki.KernelVersion(k); !errors.Is(err, uki.ErrFormat) {
				t.Errorf("want %v, found %q and %v", uki.ErrFormat, v, err)
			}
		})
	}
}
