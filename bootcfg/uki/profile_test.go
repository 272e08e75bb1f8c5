package uki_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// program is an EFI program with these sections besides those of a stub of the
// version, 0 for one that doesn't say.
func program(t testing.TB, version int, sections ...uki.Section) []byte {
	t.Helper()
	s := plainStub()
	s.headers = 2048
	if version > 0 {
		s.sections = append(s.sections, stubSection{".sdmagic", fmt.Sprintf("#### LoaderInfo: systemd-stub %d.1-1 ####", version), 0x3000})
	}
	out, err := uki.Build(s.bytes(), sections)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func text(name, data string) uki.Section { return uki.Section{Name: name, Data: []byte(data)} }

func profiles(t *testing.T, program []byte) ([]uki.Profile, error) {
	t.Helper()
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	return f.Profiles()
}

// A profile has what it brings, and the rest from the base, never from another profile.
func TestProfilesInherit(t *testing.T) {
	all, err := profiles(t, program(t, 257,
		text(".linux", "kernel"), text(".initrd", "initrd"), text(".cmdline", "base"),
		text(".profile", "ID=main\n"),
		text(".profile", "# c\nTITLE='Rescue \"me\"'\nID=\"rescue\"\n"), text(".cmdline", "rescue"), text(".initrd", "other"),
		text(".profile", "\r\tID=third"),
	))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		id, title := p.Title()
		line, err := p.Cmdline()
		if err != nil {
			t.Fatal(err)
		}
		linux, _ := p.Section(".linux")
		initrd, _ := p.Section(".initrd")
		got = append(got, strings.Join([]string{p.String(), id, title, line, string(linux), string(initrd)}, "|"))
	}
	want := []string{"@0|main||base|kernel|initrd", `@1|rescue|Rescue "me"|rescue|kernel|other`, "@2|third||base|kernel|initrd"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// Every UKI has a profile @0, whether it says so or not.
func TestProfilesOfPlainUKI(t *testing.T) {
	all, err := profiles(t, program(t, 0, text(".linux", "kernel"), text(".cmdline", "quiet\x00hidden")))
	if err != nil || len(all) != 1 {
		t.Fatalf("found %v, error %v", all, err)
	}
	if line, err := all[0].Cmdline(); line != "quiet" || err != nil {
		t.Errorf("found %q, error %v", line, err)
	}
}

// The command line is what systemd-stub makes of the section.
func TestProfileCmdline(t *testing.T) {
	for _, test := range []struct{ name, data, want, fails string }{
		{"plain", "root=/dev/vda ro", "root=/dev/vda ro", ""},
		{"behind a NUL", "ro\x00composefs.digest=x", "ro", ""},
		{"lines", " \nro\nquiet\t\r\n", "ro quiet", ""},
		{"delete", "a\x7fb", "a b", ""},
		{"nothing", "\x00x", "", ""},
		{"UTF-8", "root=LABEL=größe", "root=LABEL=größe", ""},
		{"Latin-1", "root=LABEL=gr\xf6\xdfe", "", `"\xf6" at position 13`},
		{"beyond U+FFFF", "x=😀", "", "at position 2"},
		{"cut", "x=\xc3", "", "at position 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := uki.Profile{Sections: []uki.Section{text(".cmdline", test.data)}}.Cmdline()
			if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("found %q, error %v; want %q, %q", got, err, test.want, test.fails)
			}
		})
	}
}

// What stubs of different versions would boot differently is refused, and told.
func TestProfilesRefuse(t *testing.T) {
	rename := func(b []byte, old, new string) []byte {
		if n := bytes.Count(b, []byte(old)); n != 1 {
			t.Fatalf("%q is there %d times", old, n)
		}
		return bytes.Replace(b, []byte(old), []byte(new), 1)
	}
	for _, test := range []struct {
		name    string
		program []byte
		says    string
	}{
		{"two command lines", rename(program(t, 257, text(".linux", "k"), text(".cmdline", "a"), text(".cmdlinX", "b")), ".cmdlinX", ".cmdline"), "the base has two sections .cmdline"},
		{"two in a profile", rename(program(t, 257, text(".linux", "k"), text(".profile", "ID=a"), text(".initrd", "a"), text(".initrX", "b")), ".initrX", ".initrd"), "profile @0 has two sections .initrd"},
		{"profiles and an old stub", program(t, 256, text(".linux", "k"), text(".profile", "ID=a")), "systemd 256, which doesn't know them"},
		{"a longer name and an old stub", program(t, 252, text(".linux", "k"), text(".initrd", "a"), text(".initrd2", "b")), "takes that for .initrd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := profiles(t, test.program); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q, found %v", test.says, err)
			}
		})
	}
	for _, version := range []int{0, 252, 257, 300} {
		if _, err := profiles(t, program(t, version, text(".linux", "k"), text(".cmdline", "a"))); err != nil {
			t.Errorf("a plain UKI with a stub of %d: %v", version, err)
		}
	}
}

// Names and places that the stub reads in another way than the file suggests are
// found out.
func TestParseMemory(t *testing.T) {
	const table = 0x80 + 24 + 240
	put := func(b []byte, row, field int, v uint32) []byte {
		binary.LittleEndian.PutUint32(b[table+40*row+field:], v)
		return b
	}
	uk := func() []byte { return program(t, 0, text(".linux", "k"), text(".cmdline", "quiet")) }
	for _, test := range []struct {
		name    string
		program []byte
		says    string
	}{
		{"no size in memory", put(uk(), 3, 8, 0), `section ".cmdline" has 512 bytes in the file and none in memory`},
		{"the same memory", put(uk(), 3, 12, 0x3000), `".linux" and ".cmdline" overlap at address 0x3000`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := uki.Parse(bytes.NewReader(test.program)); !errors.Is(err, uki.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q, found %v", test.says, err)
			}
		})
	}
	b := uk()
	copy(b[table+40*2:], ".linux\x00x")
	if f, err := uki.Parse(bytes.NewReader(b)); err != nil || f.Sections[2].Name != ".linux" {
		t.Errorf("a name with something behind the NUL: %v, %v", f, err)
	}
}

// A command line that the kernel would cut off isn't built in, one byte less is.
func TestCmdlineLength(t *testing.T) {
	for _, a := range []struct {
		machine uint16
		longest int
	}{{0x8664, 2047}, {0xaa64, 2047}, {0x5064, 1023}, {0x014c, 2047}} {
		if err := uki.CheckCmdlineLength(strings.Repeat("x", a.longest), a.machine); err != nil {
			t.Errorf("machine %#x: %v", a.machine, err)
		}
		if err := uki.CheckCmdlineLength(strings.Repeat("x", a.longest+1), a.machine); !errors.Is(err, uki.ErrCmdlineLength) {
			t.Errorf("machine %#x: want %v, found %v", a.machine, uki.ErrCmdlineLength, err)
		}
	}
	o := uki.Options{Stub: plainStub().bytes(), Linux: kernel("6.12"), Cmdline: strings.Repeat("ü", 1024)}
	if _, err := uki.Assemble(o); !errors.Is(err, uki.ErrCmdlineLength) {
		t.Errorf("want %v of 1024 characters of two bytes, found %v", uki.ErrCmdlineLength, err)
	}
	if _, err := uki.AssembleAddon(o); !errors.Is(err, uki.ErrCmdlineLength) {
		t.Errorf("addon: want %v, found %v", uki.ErrCmdlineLength, err)
	}
	o.Cmdline = o.Cmdline[:2046]
	if _, err := uki.Assemble(o); err != nil {
		t.Error(err)
	}
}

// What isn't a profile isn't joined.
func TestJoinRefuses(t *testing.T) {
	o := uki.Options{Stub: plainStub().bytes(), Linux: kernel("6.12"), Initrd: []byte("initrd")}
	o.Stub = func() []byte { s := plainStub(); s.headers = 2048; return s.bytes() }()
	arm := plainStub()
	arm.machine, arm.headers = 0xaa64, 2048
	armProfile, err := uki.Build(arm.bytes(), []uki.Section{text(".profile", "ID=a")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		join []byte
		says string
	}{
		{"a UKI", program(t, 0, text(".linux", "k"), text(".profile", "ID=a")), "found .linux"},
		{"two profiles", program(t, 0, text(".profile", "ID=a"), text(".profile", "ID=b")), "found .profile"},
		{"an addon", program(t, 0, text(".cmdline", "quiet")), "found .cmdline"},
		{"nothing", program(t, 0, text(".other", "x")), "found none"},
		{"without an identifier", program(t, 0, text(".profile", "TITLE=x")), "want lines like ID="},
		{"for another machine", armProfile, "the profile for 0xaa64"},
		{"no program", []byte("MZ"), "the DOS header"},
		{"a line too long", program(t, 0, text(".profile", "ID=a"), text(".cmdline", strings.Repeat("x", 2048))), "profile @1: the command line is too long"},
		{"a line of Latin-1", program(t, 0, text(".profile", "ID=a"), text(".cmdline", "\xff")), "profile @1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o.Join = [][]byte{test.join}
			if _, err := uki.Assemble(o); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q, found %v", test.says, err)
			}
		})
	}
	for _, test := range []struct{ base, first, second, says string }{
		{"", "ID=a", "ID=a\nTITLE=x", `profiles @1 and @2 have the same ID, "a"`},
		{"", "ID=main", "ID=a", `profiles @0 and @1 have the same ID, "main"`},
		{"ID=b", "ID=a", "ID='b'", `profiles @0 and @2 have the same ID, "b"`},
	} {
		o.Profile, o.Join = []byte(test.base), [][]byte{program(t, 0, text(".profile", test.first)), program(t, 0, text(".profile", test.second))}
		if _, err := uki.Assemble(o); !errors.Is(err, uki.ErrOptions) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("want %q, found %v", test.says, err)
		}
	}
	o.Profile, o.Join = nil, nil
	if _, err := uki.AssembleProfile(uki.Options{Stub: o.Stub, Cmdline: "x"}); err == nil || !strings.Contains(err.Error(), "want lines like ID=") {
		t.Errorf("a profile without a text: %v", err)
	}
	if _, err := uki.AssembleProfile(uki.Options{Stub: o.Stub, Profile: []byte("ID=x"), PCRPKey: []byte("x")}); err == nil {
		t.Error("a profile with a key of PCRs was made")
	}
	o.Profile = []byte("nonsense")
	if _, err := uki.Assemble(o); err == nil {
		t.Error("a UKI with nonsense for a profile was made")
	}
}

// Whatever is parsed, each profile has one section of a name at most, and its
// command line has no control characters.
func FuzzProfiles(f *testing.F) {
	f.Add(program(f, 257, text(".linux", "k"), text(".cmdline", "a"), text(".profile", "ID=a\nTITLE=\"b\""), text(".cmdline", "b")))
	f.Add(program(f, 252, text(".linux", "k"), text(".cmdline", "a\x00b"), text(".profile", "=\n'")))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := uki.Parse(bytes.NewReader(b))
		if err != nil {
			return
		}
		all, err := file.Profiles()
		if len(all) == 0 {
			t.Fatal("no profile")
		}
		for _, p := range all {
			p.Title()
			line, lineErr := p.Cmdline()
			if lineErr == nil && strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("the command line is %q", line)
			}
			seen := map[string]bool{}
			for _, s := range p.Measured() {
				if err == nil && seen[s.Name] && s.Name != ".dtbauto" {
					t.Fatalf("profile %s measures %s twice", p, s.Name)
				}
				seen[s.Name] = true
			}
		}
	})
}
