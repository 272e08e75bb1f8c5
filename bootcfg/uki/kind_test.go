package uki_test

import (
	"bytes"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// A program tells by its sections what it is for, and by .sdmagic which stub it is made of.
func TestWhatAProgramIsFor(t *testing.T) {
	const (
		linux = "#### LoaderInfo: systemd-stub 257.1 ####"
		addon = "#### LoaderInfo: systemd-addon 257.1 ####"
		boot  = "#### LoaderInfo: systemd-boot 257.1 ####"
	)
	for _, test := range []struct {
		name, magic string
		sections    []uki.Section
		kind        uki.Kind
		stub        uki.Stub
	}{
		{"a UKI", linux, []uki.Section{text(".osrel", "x"), text(".cmdline", "x"), text(".initrd", "x"), text(".linux", "x")}, uki.KindUKI, uki.StubLinux},
		{"a kernel and nothing else", "", []uki.Section{text(".linux", "x")}, uki.KindUKI, ""},
		{"a UKI on the stub of addons", addon, []uki.Section{text(".cmdline", "x"), text(".linux", "x")}, uki.KindUKI, uki.StubAddon},
		{"a UKI that has lost its kernel", linux, []uki.Section{text(".osrel", "x"), text(".cmdline", "x"), text(".initrd", "x")}, uki.KindUKI, uki.StubLinux},
		{"a UKI with profiles", linux, []uki.Section{text(".linux", "x"), text(".cmdline", "x"), text(".profile", "ID=a")}, uki.KindUKI, uki.StubLinux},
		{"a UKI whose profiles have everything", linux, []uki.Section{text(".profile", "ID=a"), text(".cmdline", "x"), text(".linux", "x")}, uki.KindUKI, uki.StubLinux},
		{"an addon", addon, []uki.Section{text(".cmdline", "x")}, uki.KindAddon, uki.StubAddon},
		{"an addon on the stub of UKIs", linux, []uki.Section{text(".initrd", "x"), text(".uname", "6.12")}, uki.KindAddon, uki.StubLinux},
		{"a profile", addon, []uki.Section{text(".profile", "ID=a"), text(".cmdline", "x")}, uki.KindProfile, uki.StubAddon},
		{"a profile with a kernel of its own", addon, []uki.Section{text(".profile", "ID=a"), text(".linux", "x")}, uki.KindProfile, uki.StubAddon},
		{"a profile without anything", "", []uki.Section{text(".profile", "ID=a")}, uki.KindProfile, ""},
		{"a boot loader", boot, []uki.Section{text(".osrel", "x")}, uki.KindOther, "systemd-boot"},
		{"a stub by itself", linux, nil, uki.KindOther, uki.StubLinux},
		{"a stub that says something else", "LoaderInfo: systemd-stub 257", nil, uki.KindOther, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := plainStub()
			s.headers = 2048
			if test.magic != "" {
				s.sections = append(s.sections, stubSection{".sdmagic", test.magic, 0x3000})
			}
			out, err := uki.Build(s.bytes(), test.sections)
			if err != nil {
				t.Fatal(err)
			}
			f, err := uki.Parse(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind() != test.kind || f.Stub() != test.stub {
				t.Errorf("found a %s on %q, want a %s on %q", f.Kind(), f.Stub(), test.kind, test.stub)
			}
		})
	}
}
