package dumpfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func parseRust(t testing.TB, text string) *tree.Node {
	t.Helper()
	root, err := dumpfile.Rust.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(root); err != nil {
		t.Fatalf("a parsed tree must pass Check: %v", err)
	}
	return root
}

func writeRust(t testing.TB, root *tree.Node) string {
	t.Helper()
	return writeAs(t, dumpfile.Rust, root)
}

// What composefs-rs printed is reproduced byte for byte, from its own text and
// from the input that it was made of.
func TestRustReproducesComposefsRs(t *testing.T) {
	const transforms = "../../internal/source/transform/testdata"
	for _, name := range []string{"policy", "nopolicy-dir", "noconfig", "notype"} {
		plain := filepath.Join("testdata/rust", name+".plain.dump")
		for in, out := range map[string]string{
			plain: plain,
			filepath.Join(transforms, name+".input.dump"): plain,
			filepath.Join(transforms, name+".oci.dump"):   filepath.Join(transforms, name+".oci.dump"),
			filepath.Join(transforms, name+".boot.dump"):  filepath.Join(transforms, name+".boot.dump"),
		} {
			if want, got := string(testutil.ReadFile(t, out)), writeRust(t, parseRust(t, string(testutil.ReadFile(t, in)))); got != want {
				t.Errorf("%s: the text changed:\n%s", in, firstDifference(want, got))
			}
		}
	}
}

// Of the vectors composefs-rs reads those of which it has made a V2 image. We also
// read the times before 1970 that it writes.
func TestRustReadsWhatComposefsRsReads(t *testing.T) {
	var manifest map[string]struct {
		Dump string
		V2   *struct{}
	}
	if err := json.Unmarshal(testutil.ReadFile(t, filepath.Join(vectors, "manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	for name, v := range manifest {
		root, err := dumpfile.Rust.Parse(strings.NewReader(string(testutil.ReadFile(t, filepath.Join(vectors, v.Dump)))))
		if (err == nil) != (v.V2 != nil || name == "mtime-neg") {
			t.Errorf("%s: composefs-rs reads it: %v, we: %v", name, v.V2 != nil, err)
		}
		if err != nil {
			continue
		}
		once := writeRust(t, root)
		if twice := writeRust(t, parseRust(t, once)); once != twice {
			t.Errorf("%s: the text changed:\n%s", name, firstDifference(once, twice))
		}
	}
}

// What the lines mean in Rust, told in C.
func TestRustMeansWhatItsModelHas(t *testing.T) {
	object := digest[:2] + "/" + digest[2:]
	for _, tt := range []struct{ name, text, plain string }{
		{"blank lines", "\n \t\n/a 0 100644 1 0 0 0 0.0 - - -\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"link count is the number of names", "/a 0 100644 7 0 0 0 0.0 - - -\n/b 0 @120000 - - - - 0.0 /a - -\n", "/a 0 100644 2 0 0 0 0.0 - - -\n/b 0 @100644 2 0 0 0 0.0 /a - -\n"},
		{"payload comes from the digest", "/a 9 100644 1 0 0 0 0.0 some/where - " + digest + "\n", "/a 9 100644 1 0 0 0 0.0 " + object + " - " + digest + "\n"},
		{"payload names the object", "/a 9 100644 1 0 0 0 0.0 some/where/" + object + " - -\n", "/a 9 100644 1 0 0 0 0.0 " + object + " - -\n"},
		{"payload wins over content", "/a 1 100644 1 0 0 0 0.0 " + object + " x " + digest + "\n", "/a 1 100644 1 0 0 0 0.0 " + object + " - " + digest + "\n"},
		{"size is that of the content", "/a 9 100644 1 0 0 0 0.0 - x -\n", "/a 1 100644 1 0 0 0 0.0 - x -\n"},
		{"neither is a hole", "/a 9 100644 1 0 0 0 0.0 - - -\n", "/a 9 100644 1 0 0 0 0.0 - - -\n"},
		{"repeated xattr", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 user.a=2\n", "/a 0 100644 1 0 0 0 0.0 - - - user.a=2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := write(t, parseRust(t, rootLine+tt.text)), rootLine+tt.plain; got != want {
				t.Errorf("%s", firstDifference(want, got))
			}
		})
	}
	if n := parseRust(t, rootLine+"/a 0 100644 1 0 0 0 0.0 "+object+" - -\n").Lookup("a"); n.Payload != object || n.Size != 0 {
		t.Errorf("an empty file may be an object: found %+v", n)
	}
}

// Names of a file become originals in the order of their paths, not of the lines.
func TestRustOriginalIsTheFirstName(t *testing.T) {
	root := parseRust(t, rootLine+"/b 0 100644 1 0 0 0 0.0 - - -\n/a 0 @100644 - - - - 0.0 /b - -\n")
	if e := root.Entries(); e[0].Link || !e[1].Link {
		t.Errorf("found %+v, want /a to be the original", e)
	}
}

// One wrong field in a line that only a lenient dialect takes.
func TestDialectsRefuse(t *testing.T) {
	const good = "/a 0 100644 1 0 0 0 0.0 - - -\n"
	with := func(f dumpfile.Field, value string) string {
		fields := strings.Split(strings.TrimSuffix(good, "\n"), " ")
		fields[f] = value
		return strings.Join(fields, " ") + "\n"
	}
	for _, tt := range []struct {
		name, text string
		dialects   []dumpfile.Dialect // that refuse
		line       int
		field      dumpfile.Field
	}{
		{"no newline at the end", strings.TrimSuffix(good, "\n"), []dumpfile.Dialect{dumpfile.Strict}, 2, dumpfile.Xattrs},
		{"device number of a file", with(dumpfile.Rdev, "1"), []dumpfile.Dialect{dumpfile.Strict, dumpfile.Rust}, 2, dumpfile.Rdev},
		{"size of a symlink", "/a 2 120777 1 0 0 0 0.0 abc - -\n", []dumpfile.Dialect{dumpfile.Strict}, 2, dumpfile.Size},
		{"content of a symlink", "/a 1 120777 1 0 0 0 0.0 a b -\n", []dumpfile.Dialect{dumpfile.Strict, dumpfile.Rust}, 2, dumpfile.Content},
		{"relative path", good[1:], []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Path},
		{"two slashes", "/" + good, []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Path},
		{"NUL in the path", with(dumpfile.Path, `/a\x00b`), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Path},
		{"not UTF-8", with(dumpfile.Path, "/\xff"), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Path},
		{"missing fields", "/a 0 10644 1 0 0 0 0.0 -\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Path},
		{"sign", with(dumpfile.UID, "+1"), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.UID},
		{"number too large", with(dumpfile.GID, "4294967296"), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.GID},
		{"size too large", with(dumpfile.Size, "18446744073709551616"), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Size},
		{"two signs", with(dumpfile.Mtime, "--1.0"), []dumpfile.Dialect{dumpfile.C, dumpfile.Strict, dumpfile.Rust}, 2, dumpfile.Mtime},
		{"before 1970", with(dumpfile.Mtime, "-1.0"), nil, 0, 0},
		{"nanoseconds", with(dumpfile.Mtime, "1.1000000000"), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Mtime},
		{"digest of a directory", "/a 0 40755 2 0 0 0 0.0 - - " + digest + "\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Digest},
		{"digest without payload", "/a 9 100644 1 0 0 0 0.0 - - " + digest + "\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Digest},
		{"payload that names nothing", "/a 9 100644 1 0 0 0 0.0 p - -\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Payload},
		{"empty payload", with(dumpfile.Payload, ""), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Payload},
		{"long content", fmt.Sprintf("/a 513 100644 1 0 0 0 0.0 - %s -\n", strings.Repeat("c", 513)), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Content},
		{"long symlink", fmt.Sprintf("/a 1025 120777 1 0 0 0 0.0 %s - -\n", strings.Repeat("t", 1025)), []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Payload},
		{"space at the end", strings.TrimSuffix(good, "\n") + " user.a=1 \n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Xattrs},
		{"NUL in the name of an xattr", strings.TrimSuffix(good, "\n") + " user.a\\x00b=1\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Xattrs},
		{"link before its target", "/b 0 @100644 1 0 0 0 0.0 /a - -\n" + good, []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Payload},
		{"relative target of a link", good + "/b 0 @100644 1 0 0 0 0.0 a - -\n", []dumpfile.Dialect{dumpfile.Rust}, 3, dumpfile.Payload},
		{"linked whiteout", "/a 0 20644 1 0 0 0 0.0 - - -\n/b 0 @20644 1 0 0 0 0.0 /a - -\n", []dumpfile.Dialect{dumpfile.Rust}, 3, dumpfile.Payload},
		{"whiteout with a link count", "/a 0 20644 2 0 0 0 0.0 - - -\n", []dumpfile.Dialect{dumpfile.Rust}, 2, dumpfile.Nlink},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []dumpfile.Dialect{dumpfile.C, dumpfile.Strict, dumpfile.Rust} {
				_, err := d.Parse(strings.NewReader(rootLine + tt.text))
				if !slices.Contains(tt.dialects, d) {
					if err != nil {
						t.Errorf("dialect %d: %v", d, err)
					}
					continue
				}
				var e *dumpfile.Error
				if !errors.As(err, &e) || e.Line != tt.line || e.Field != tt.field {
					t.Errorf("dialect %d: want line %d, %v, found: %v", d, tt.line, tt.field, err)
				}
			}
		})
	}
}

// A tree that composefs-rs couldn't read back isn't written, and the path is named.
func TestRustWritesNothingThatItDoesNotRead(t *testing.T) {
	for _, line := range []string{
		"/a 9 100644 1 0 0 0 0.0 p - -\n",
		"/a 9 100644 1 0 0 0 0.0 - - " + digest + "\n",
		"/a 0 100644 1 0 0 0 1.1000000000 - - -\n",
		"/a 0 20644 1 0 0 0 0.0 - - -\n/b 0 @20644 1 0 0 0 0.0 /a - -\n",
		fmt.Sprintf("/a 513 100644 1 0 0 0 0.0 - %s -\n", strings.Repeat("c", 513)),
	} {
		err := dumpfile.Rust.Write(new(bytes.Buffer), parse(t, rootLine+line))
		if err == nil || !strings.Contains(err.Error(), "/a: ") {
			t.Errorf("%.40q: found %v", line, err)
		}
	}
}
