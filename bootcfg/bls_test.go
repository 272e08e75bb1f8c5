package bootcfg_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
)

const entryText = `# written by an installer
title Debian 13
version 6.12

x-vendor keep me
linux /debian/vmlinuz
initrd /debian/a.img
initrd /debian/b.img
options root=LABEL=root rw
options quiet
`

func parseEntry(t *testing.T, text string) bootcfg.Entry {
	t.Helper()
	e, err := bootcfg.ParseEntry(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func formatEntry(t *testing.T, e bootcfg.Entry) string {
	t.Helper()
	text, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Rewriting an entry changes what is asked for, and leaves alone what isn't known.
func TestEntryRewrite(t *testing.T) {
	for _, test := range []struct {
		name   string
		key    string
		values []string
		from   string
		to     string
	}{
		{"nothing", "absent", nil, "", ""},
		{"in place", "version", []string{"7.2"}, "version 6.12", "version 7.2"},
		{"fewer", "initrd", []string{"/c.img"}, "initrd /debian/a.img\ninitrd /debian/b.img", "initrd /c.img"},
		{"more", "linux", []string{"/1", "/2"}, "linux /debian/vmlinuz", "linux /1\nlinux /2"},
		{"removed", "options", nil, "options root=LABEL=root rw\noptions quiet\n", ""},
		{"new at the end", "sort-key", []string{"debian"}, "options quiet\n", "options quiet\nsort-key debian\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := parseEntry(t, entryText)
			e.Set(test.key, test.values...)
			if got, want := formatEntry(t, e), strings.Replace(entryText, test.from, test.to, 1); got != want {
				t.Errorf("found\n%swant\n%s", got, want)
			}
			if !slices.Equal(e.All(test.key), test.values) {
				t.Errorf("values are %q, want %q", e.All(test.key), test.values)
			}
		})
	}
}

func TestEntryGet(t *testing.T) {
	e := parseEntry(t, "title\tA  title \r\n\n# x\nbare\ntitle  last\noptions a\noptions b  c\n")
	for key, want := range map[string]string{"title": "last", "bare": "", "options": "b  c"} {
		if got, ok := e.Get(key); !ok || got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"absent", ""} {
		if got, ok := e.Get(key); ok {
			t.Errorf("there is no key %q, found %q", key, got)
		}
	}
	if got := e.Options(); got != "a b  c" {
		t.Errorf("options are %q", got)
	}
	if got, want := formatEntry(t, e), "title A  title\n\n# x\nbare\ntitle last\noptions a\noptions b  c\n"; got != want {
		t.Errorf("found\n%swant\n%s", got, want)
	}
}

func TestEntryRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"NUL": "title a\x00b\n", "not UTF-8": "title \xff\n", "escape": "title \x1b[2J", "huge": strings.Repeat("# x\n", 1<<19),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := bootcfg.ParseEntry(strings.NewReader(text)); !errors.Is(err, bootcfg.ErrEntry) {
				t.Errorf("want %v, found %v", bootcfg.ErrEntry, err)
			}
		})
	}
	for name, f := range map[string]bootcfg.Field{
		"value of two lines": {Key: "options", Value: "quiet\nlinux /evil"}, "key with a space": {Key: "a b", Value: "c"},
		"key that is a comment": {Key: "#a", Value: "b"}, "text without a key": {Value: "linux /evil"}, "space at the end": {Key: "a", Value: "b "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (bootcfg.Entry{Fields: []bootcfg.Field{f}}).Format(); !errors.Is(err, bootcfg.ErrEntry) {
				t.Errorf("want %v, found %v", bootcfg.ErrEntry, err)
			}
		})
	}
}

// File names carry the boot counters.
func TestEntryName(t *testing.T) {
	for _, test := range []struct {
		name string
		want bootcfg.EntryName
		bad  bool
	}{
		{"debian.conf", bootcfg.EntryName{ID: "debian", Ext: ".conf"}, false},
		{"debian+3.conf", bootcfg.EntryName{ID: "debian", Counted: true, Left: 3, Ext: ".conf"}, false},
		{"debian+2-1.efi", bootcfg.EntryName{ID: "debian", Counted: true, Left: 2, Done: 1, Ext: ".efi"}, false},
		{"debian+0-3.conf", bootcfg.EntryName{ID: "debian", Counted: true, Done: 3, Ext: ".conf"}, true},
		{"6.12+deb13-amd64.conf", bootcfg.EntryName{ID: "6.12+deb13-amd64", Ext: ".conf"}, false},
		{"6.12+deb13-amd64+3.efi", bootcfg.EntryName{ID: "6.12+deb13-amd64", Counted: true, Left: 3, Ext: ".efi"}, false},
		{"a+b+.conf", bootcfg.EntryName{ID: "a+b+", Ext: ".conf"}, false},
		{"a+99999.conf", bootcfg.EntryName{ID: "a+99999", Ext: ".conf"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := bootcfg.ParseEntryName(test.name)
			if err != nil || got != test.want || got.Bad() != test.bad || got.String() != test.name {
				t.Errorf("found %+v, written %q, bad %v, error %v", got, got, got.Bad(), err)
			}
		})
	}
	for _, name := range []string{"", ".conf", "debian", "debian.txt", "a/b.conf", "..conf", "a b.conf", "é.conf"} {
		if got, err := bootcfg.ParseEntryName(name); !errors.Is(err, bootcfg.ErrEntry) {
			t.Errorf("%q: want %v, found %+v and %v", name, bootcfg.ErrEntry, got, err)
		}
	}
}

// What is parsed can be written, and reads back as the same.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(entryText))
	f.Add([]byte("a\tb\r\n\n#\n \x0b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := bootcfg.ParseEntry(bytes.NewReader(text))
		if err != nil {
			return
		}
		out, err := e.Format()
		if err != nil {
			t.Fatal(err)
		}
		again, err := bootcfg.ParseEntry(bytes.NewReader(out))
		if err != nil || !slices.Equal(e.Fields, again.Fields) {
			t.Fatalf("reads back as %q, was %q, error %v", again.Fields, e.Fields, err)
		}
	})
}

// A name that is accepted names the same entry when written.
func FuzzParseEntryName(f *testing.F) {
	f.Add("debian+2-1.conf")
	f.Add("a+03.efi")
	f.Fuzz(func(t *testing.T, name string) {
		n, err := bootcfg.ParseEntryName(name)
		if err != nil {
			return
		}
		again, err := bootcfg.ParseEntryName(n.String())
		if err != nil || again != n {
			t.Fatalf("%q is %+v, and that %+v, error %v", name, n, again, err)
		}
	})
}
