package bootcfg_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

var (
	hexA   = strings.Repeat("0a", 32)
	hexB   = strings.Repeat("0b", 32)
	hex512 = strings.Repeat("0c", 64)
)

func digest(t *testing.T, hex string) verity.Digest {
	t.Helper()
	d, err := verity.ParseAnyHex(hex)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The expectations are those of next_arg() and parse_args() in lib/cmdline.c and
// kernel/params.c.
func TestSplitCmdlineQuotesAsTheKernel(t *testing.T) {
	plain := func(key string) bootcfg.Arg { return bootcfg.Arg{Key: key} }
	set := func(key, value string) bootcfg.Arg { return bootcfg.Arg{Key: key, Value: value, Assigned: true} }
	for _, c := range []struct {
		name, line string
		args       []bootcfg.Arg
		rest       []string
	}{
		{"empty", "", nil, nil},
		{"only space", " \t\n", nil, nil},
		{"words and values", "ro a=b\tc=", []bootcfg.Arg{plain("ro"), set("a", "b"), set("c", "")}, nil},
		{"a quoted value", `a="b c" d`, []bootcfg.Arg{set("a", "b c"), plain("d")}, nil},
		{"a quoted parameter", `"a=b c" d`, []bootcfg.Arg{set("a", "b c"), plain("d")}, nil},
		{"quotes inside a value stay", `a=b"c d"e`, []bootcfg.Arg{set("a", `b"c d"e`)}, nil},
		{"single quotes mean nothing", `a='b c'`, []bootcfg.Arg{set("a", "'b"), plain("c'")}, nil},
		{"a backslash means nothing", `a=b\ c`, []bootcfg.Arg{set("a", `b\`), plain("c")}, nil},
		{"an open quote reaches to the end", `a="b c`, []bootcfg.Arg{set("a", "b c")}, nil},
		{"only the first = counts", "a=b=c", []bootcfg.Arg{set("a", "b=c")}, nil},
		{"two dashes end it", "a -- b=c single", []bootcfg.Arg{plain("a")}, []string{"b=c", "single"}},
		{"two dashes with more are a word", "--a b", []bootcfg.Arg{plain("--a"), plain("b")}, nil},
		{"the newline of /proc/cmdline", "a=b\n", []bootcfg.Arg{set("a", "b")}, nil},
	} {
		args, rest := bootcfg.SplitCmdline(c.line)
		if !reflect.DeepEqual(args, c.args) || !reflect.DeepEqual(rest, c.rest) {
			t.Errorf("%s: %q\n got %+v, %q\nwant %+v, %q", c.name, c.line, args, rest, c.args, c.rest)
		}
	}
}

// The expectations are those of extract_first_word() as proc_cmdline_parse_given() of
// systemd calls it, and were compared with systemd-run-generator 252.
func TestSplitSystemdQuotesAsSystemd(t *testing.T) {
	plain := func(key string) bootcfg.Arg { return bootcfg.Arg{Key: key} }
	set := func(key, value string) bootcfg.Arg { return bootcfg.Arg{Key: key, Value: value, Assigned: true} }
	for _, c := range []struct {
		name, line string
		args       []bootcfg.Arg
	}{
		{"empty", " \t\n", nil},
		{"words and values", "ro a=b\tc=", []bootcfg.Arg{plain("ro"), set("a", "b"), set("c", "")}},
		{"a quoted value", `a="b c" d`, []bootcfg.Arg{set("a", "b c"), plain("d")}},
		{"a parameter in single quotes", `'a=b c' d`, []bootcfg.Arg{set("a", "b c"), plain("d")}},
		{"quotes within a word go", `s"yste"md.run=/x`, []bootcfg.Arg{set("systemd.run", "/x")}},
		{"double quotes within single ones", `x='"' a=b y='"'`, []bootcfg.Arg{set("x", `"`), set("a", "b"), set("y", `"`)}},
		{"single quotes within double ones", `x="'" a=b y="'"`, []bootcfg.Arg{set("x", "'"), set("a", "b"), set("y", "'")}},
		{"nothing in quotes", `'' a`, []bootcfg.Arg{plain(""), plain("a")}},
		{"a backslash means nothing", `a=b\ c`, []bootcfg.Arg{set("a", `b\`), plain("c")}},
		{"an open quote reaches to the end", `a='b c`, []bootcfg.Arg{set("a", "b c")}},
		{"two dashes end nothing", "a -- b=c", []bootcfg.Arg{plain("a"), plain("--"), set("b", "c")}},
		{"less is white space", "a\vb\fc\xa0d", []bootcfg.Arg{plain("a\vb\fc\xa0d")}},
		{"the newline of /proc/cmdline", "a=b\n", []bootcfg.Arg{set("a", "b")}},
	} {
		if args := bootcfg.SplitSystemd(c.line); !reflect.DeepEqual(args, c.args) {
			t.Errorf("%s: %q\n got %+v\nwant %+v", c.name, c.line, args, c.args)
		}
	}
}

func TestParseCmdlineFindsImagesInOrder(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       []bootcfg.Image
	}{
		{"no argument", "root=/dev/vda quiet", nil},
		{"another's argument", "ostree.composefs=1 xcomposefs=1", nil},
		{"version 2 is written without a version", "composefs=" + hexA,
			[]bootcfg.Image{{Digest: digest(t, hexA), Format: erofs.V2, Argument: "composefs=" + hexA}}},
		{"sha512 by its length", "composefs=" + hex512,
			[]bootcfg.Image{{Digest: digest(t, hex512), Format: erofs.V2, Argument: "composefs=" + hex512}}},
		{"version 1", "composefs.digest=v1-sha256-12:" + hexA,
			[]bootcfg.Image{{Digest: digest(t, hexA), Format: erofs.V1, Argument: "composefs.digest=v1-sha256-12:" + hexA}}},
		{"version 0, sha512, optional", "composefs.digest=?v0-sha512-12:" + hex512,
			[]bootcfg.Image{{Digest: digest(t, hex512), Optional: true, Argument: "composefs.digest=?v0-sha512-12:" + hex512}}},
		{"optional in quotes", `composefs="?` + hexA + `"`,
			[]bootcfg.Image{{Digest: digest(t, hexA), Format: erofs.V2, Optional: true, Argument: "composefs=?" + hexA}}},
		{"several keep their order", "composefs.digest=v1-sha256-12:" + hexB + " composefs=" + hexA,
			[]bootcfg.Image{
				{Digest: digest(t, hexB), Format: erofs.V1, Argument: "composefs.digest=v1-sha256-12:" + hexB},
				{Digest: digest(t, hexA), Format: erofs.V2, Argument: "composefs=" + hexA},
			}},
		{"what follows -- is init's", "quiet -- composefs=" + hexA, nil},
	} {
		got, err := bootcfg.ParseCmdline(c.line)
		if err != nil || !reflect.DeepEqual(got.Images, c.want) {
			t.Errorf("%s: %q\n got %+v, %v\nwant %+v", c.name, c.line, got.Images, err, c.want)
		}
		if got.Asked() != (len(c.want) > 0) {
			t.Errorf("%s: Asked() = %v", c.name, got.Asked())
		}
	}
}

func TestParseCmdlineRefusesWhatIsMalformed(t *testing.T) {
	v1 := "composefs.digest=v1-sha256-12:"
	for _, c := range []struct{ name, line, want string }{
		{"no value", "composefs", "has no value"},
		{"empty value", "composefs=", "64 or 128 hex digits"},
		{"short hex", "composefs=" + hexA[1:], "64 or 128 hex digits"},
		{"upper case", "composefs=" + strings.ToUpper(hexA), "lower-case hex"},
		{"upper case with a version", v1 + strings.ToUpper(hexA), "lower-case hex"},
		{"two question marks", "composefs=??" + hexA, "64 or 128"},
		{"mark before the hex of a digest", "composefs.digest=v1-sha256-12:?" + hexA, "64 hex digits"},
		{"sha256 hex under sha512", "composefs.digest=v1-sha512-12:" + hexA, "128 hex digits"},
		{"unknown version", "composefs.digest=v3-sha256-12:" + hexA, "v0, v1 or v2"},
		{"version without its v", "composefs.digest=1-sha256-12:" + hexA, "v0, v1 or v2"},
		{"two versions", "composefs.digest=v0v1-sha256-12:" + hexA, "v0, v1 or v2"},
		{"unknown hash", "composefs.digest=v1-sha384-12:" + hexA, "sha256 or sha512"},
		{"full name of the hash", "composefs.digest=v1-fsverity-sha256-12:" + hexA, "want v1-sha256-12:HEX"},
		{"unknown block size", "composefs.digest=v1-sha256-16:" + hexA, "blocks of 2^12"},
		{"no hash at all", "composefs.digest=" + hexA, "want v1-sha256-12:HEX"},
		{"two composefs=", "composefs=" + hexA + " composefs=" + hexA, "more than once"},
		{"two refs", "composefs.ref=a composefs.ref=b", "more than once"},
		{"a ref and a digest", "composefs.ref=a " + v1 + hexA, "contradict"},
		{"a bad one after a good one", v1 + hexA + " " + v1 + "zz", "found 2"},
		{"a ref that leaves", "composefs.ref=../../x", "without . and .."},
		{"an absolute ref", "composefs.ref=/x", "single slashes"},
		{"an empty ref", "composefs.ref=", "1 to 255"},
		{"a ref with a space", `composefs.ref="a b"`, "letters, digits"},
		{"a typing mistake", "composefs.digset=" + hexA, "unknown"},
	} {
		_, err := bootcfg.ParseCmdline(c.line)
		if !errors.Is(err, bootcfg.ErrCmdline) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q: %v, want ErrCmdline with %q", c.name, c.line, err, c.want)
		}
	}
}

func TestLookupTakesTheLastValue(t *testing.T) {
	c, err := bootcfg.ParseCmdline("root=/dev/vda ro root=LABEL=x composefs.ref=os/stable")
	if err != nil || c.Ref != "os/stable" {
		t.Fatalf("ref %q, %v", c.Ref, err)
	}
	if v, ok := c.Lookup("root"); v != "LABEL=x" || !ok {
		t.Errorf("root: %q, %v", v, ok)
	}
	if v, ok := c.Lookup("rw"); v != "" || ok {
		t.Errorf("rw: %q, %v", v, ok)
	}
}

// The expectations are those of rdinit_setup() in init/main.c, which gets what follows
// "rdinit=", and of next_arg().
func TestOnlyInitOfTheInitramfsIsStarted(t *testing.T) {
	for line, good := range map[string]bool{
		"": true, "ro quiet": true, "rdinit=/init": true, `rdinit="/init"`: true, `"rdinit=/init"`: true,
		"rdinit": true, "rdinit=/bin/sh rdinit=/init": true, "quiet -- rdinit=/bin/sh": true, "rdinit.x=/bin/sh": true, `x="a rdinit=/bin/sh"`: true, "xrdinit=/bin/sh": true,
		"rdinit=/bin/sh": false, `"rdinit=/bin/sh"`: false, `rdinit="/bin/sh"`: false, "rdinit=": false, `rdinit=""`: false, "rdinit=init": false,
		"noinitrd": false, "noinitrd=x": false, "ro noinitrd rdinit=/init": false, "initrdmem=1,2": false, "noinitrds": true, "quiet -- noinitrd": true,
		"rdinit=/init rdinit=/bin/sh": false, "rdinit=/bin/sh rdinit": false, "rdinit=//init": false, "rdinit=/init/": false, "rdinit=/init\trdinit=/absent": false,
	} {
		c, err := bootcfg.ParseCmdline(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckInit(); (err == nil) != good || err != nil && !errors.Is(err, bootcfg.ErrInit) {
			t.Errorf("%q: found %v, want good: %v", line, err, good)
		}
	}
}

// Whatever the line, an accepted image can be named again and means the same.
func FuzzParseCmdline(f *testing.F) {
	for _, s := range []string{"", `a="b c" -- d`, "composefs=" + hexA, `"composefs.digest=?v1-sha512-12:` + hex512 + `"`, "composefs.ref=a/b", "composefs=\"", "\"\"=\"\" --"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := bootcfg.ParseCmdline(line)
		if err != nil {
			if !errors.Is(err, bootcfg.ErrCmdline) {
				t.Fatalf("%q: error %v wraps no ErrCmdline", line, err)
			}
			return
		}
		var again []string
		for _, i := range c.Images {
			again = append(again, i.Argument)
		}
		d, err := bootcfg.ParseCmdline(strings.Join(again, " "))
		if err != nil || !reflect.DeepEqual(c.Images, d.Images) {
			t.Fatalf("%q gives %+v, written again %+v, %v", line, c.Images, d.Images, err)
		}
	})
}
