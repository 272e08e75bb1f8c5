package dumpfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// vectors holds dumps that the C and Rust tools agree upon, and what
// composefs-info prints for the images made of them (NAME.info.dump).
const vectors = "../testdata/vectors"

const digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

const rootLine = "/ 0 40755 2 0 0 0 0.0 - - -\n"

func parse(t testing.TB, text string) *tree.Node {
	t.Helper()
	root, err := dumpfile.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(root); err != nil {
		t.Fatalf("a parsed tree must pass Check: %v", err)
	}
	return root
}

func write(t testing.TB, root *tree.Node) string { t.Helper(); return writeAs(t, dumpfile.C, root) }

func writeAs(t testing.TB, d dumpfile.Dialect, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(vectors, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	return names
}

// What composefs-info printed is reproduced byte for byte: order of lines and
// xattrs, escapes, numbers, hard links.
func TestWriteReproducesComposefsInfo(t *testing.T) {
	for _, path := range glob(t, "*.info.dump*") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want := string(testutil.ReadFile(t, path))
			if got := write(t, parse(t, want)); got != want {
				t.Errorf("the text changed:\n%s", firstDifference(want, got))
			}
		})
	}
}

func TestParseWriteParseIsStable(t *testing.T) {
	for _, path := range glob(t, "*.dump*") {
		once := write(t, parse(t, string(testutil.ReadFile(t, path))))
		if twice := write(t, parse(t, once)); once != twice {
			t.Errorf("%s: the text changed:\n%s", path, firstDifference(once, twice))
		}
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant  %.400s\nfound %.400s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, found %d", len(w), len(g))
}

// A line that the C parser takes, in one of its odd spellings, means what the
// plain spelling next to it means.
func TestParseUnderstandsTheDialects(t *testing.T) {
	tests := []struct{ name, text, plain string }{
		{"no newline at the end", "/a 0 100644 1 0 0 0 0.0 - - -", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"no leading slash", "a 0 100644 1 0 0 0 0.0 - - -\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"many slashes", "/d 0 40755 2 0 0 0 0.0 - - -\n///d//a 0 100644 1 0 0 0 0.0 - - -\n", "/d 0 40755 2 0 0 0 0.0 - - -\n/d/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"escaped path", `/a\x20\\\n\t\r\xfF 0 100644 1 0 0 0 0.0 - - -` + "\n", `/a\x20\\\n\t\r\xff 0 100644 1 0 0 0 0.0 - - -` + "\n"},
		{"path cut at NUL", `/a\x00b 0 100644 1 0 0 0 0.0 - - -` + "\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"signs", "/a +0 100644 +1 -1 -2 0 -5.-1 - - -\n", "/a 0 100644 1 4294967295 4294967294 0 -5.4294967295 - - -\n"},
		{"blanks before numbers", "/a \t0 100644 \v1 0 0 0 0.0 - - -\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"too large a number", "/a 99999999999999999999 100644 1 0 0 0 0.0 - - -\n", "/a 18446744073709551615 100644 1 0 0 0 0.0 - - -\n"},
		{"numbers are cut to 32 bits", "/a 0 100644 4294967297 4294967298 0 0 0.4294967299 - - -\n", "/a 0 100644 1 2 0 0 0.3 - - -\n"},
		{"rdev of a file doesn't count", "/a 0 100644 1 0 0 77 0.0 - - -\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"mode bits above 16", "/a 0 1100644 1 0 0 0 0.0 - - -\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"missing fields after the payload", "/a 0 120777 1 0 0 0 0.0 xyz", "/a 3 120777 1 0 0 0 0.0 xyz - -\n"},
		{"symlink size is the target's", "/a 99 120777 1 0 0 0 0.0 xyz - -\n", "/a 3 120777 1 0 0 0 0.0 xyz - -\n"},
		{"symlink target cut at NUL", `/a 99 120777 1 0 0 0 0.0 xyz\x00a - -` + "\n", "/a 3 120777 1 0 0 0 0.0 xyz - -\n"},
		{"dash as target", `/a 1 120777 1 0 0 0 0.0 \x2d - -` + "\n", `/a 1 120777 1 0 0 0 0.0 \x2d - -` + "\n"},
		{"content wins over payload and digest", "/a 1 100644 1 0 0 0 0.0 p x zz\n", "/a 1 100644 1 0 0 0 0.0 - x -\n"},
		{"empty file drops payload and digest", "/a 0 100644 1 0 0 0 0.0 p - zz\n", "/a 0 100644 1 0 0 0 0.0 - - -\n"},
		{"empty payload is unset", "/a 9 100644 1 0 0 0 0.0  - " + digest + "\n", "/a 9 100644 1 0 0 0 0.0 - - " + digest + "\n"},
		{"digest in upper case", "/a 9 100644 1 0 0 0 0.0 p - " + strings.ToUpper(digest) + "\n", "/a 9 100644 1 0 0 0 0.0 p - " + digest + "\n"},
		{"SHA-512 digest", "/a 9 100644 1 0 0 0 0.0 p - " + digest + digest + "\n", "/a 9 100644 1 0 0 0 0.0 p - " + digest + digest + "\n"},
		{"garbage digest of a directory", "/a 0 40755 2 0 0 0 0.0 - - \\q\n", "/a 0 40755 2 0 0 0 0.0 - - -\n"},
		{"repeated xattr", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 user.b=2 user.a=3\n", "/a 0 100644 1 0 0 0 0.0 - - - user.a=3 user.b=2\n"},
		{"space at the end", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 \n", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1\n"},
		{"equals signs in an xattr", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1=2\n", "/a 0 100644 1 0 0 0 0.0 - - - user.a=1\\x3d2\n"},
		{"link before its target", "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 100644 2 0 0 0 0.0 - - -\n", "/a 0 100644 2 0 0 0 0.0 - - -\n/b 0 @100644 2 0 0 0 0.0 /a - -\n"},
		{"link to a link, odd target path", "/a 0 100644 3 0 0 0 0.0 - - -\n/b 0 @100644 - - - - 0.0 //c - -\n/c 0 @120000 - - - - 0.0 a/ - -\n", "/a 0 100644 3 0 0 0 0.0 - - -\n/b 0 @100644 3 0 0 0 0.0 /a - -\n/c 0 @100644 3 0 0 0 0.0 /a - -\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := write(t, parse(t, rootLine+tt.text)), rootLine+tt.plain; got != want {
				t.Errorf("%s", firstDifference(want, got))
			}
		})
	}
}

func TestParseNamesLineAndFieldOfAFault(t *testing.T) {
	link := func(name, target string) string {
		return fmt.Sprintf("/%s 0 @100644 1 0 0 0 0.0 %s - -\n", name, target)
	}
	file := func(xattrs string) string { return "/a 0 100644 1 0 0 0 0.0 - - - " + xattrs + "\n" }
	tests := []struct {
		name, text string
		line       int
		field      dumpfile.Field
	}{
		{"empty line", rootLine + "\n", 2, dumpfile.Path},
		{"root is not first", "/a 0 100644 1 0 0 0 0.0 - - -\n", 1, dumpfile.Path},
		{"root is a file", "/ 0 100644 1 0 0 0 0.0 - - -\n", 1, dumpfile.Mode},
		{"two roots", rootLine + rootLine, 2, dumpfile.Path},
		{"raw NUL", rootLine + "/a\x00 0 100644 1 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"path of slashes", rootLine + "// 0 40755 2 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"slash at the end", rootLine + "/a/ 0 40755 2 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"dot", rootLine + "/. 0 40755 2 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"dot dot", rootLine + "/.. 0 40755 2 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"long name", rootLine + "/" + strings.Repeat("n", 256) + " 0 40755 2 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"duplicate", rootLine + file("") + file(""), 3, dumpfile.Path},
		{"no parent", rootLine + "/d/a 0 100644 1 0 0 0 0.0 - - -\n", 2, dumpfile.Path},
		{"parent is a file", rootLine + file("") + "/a/b 0 100644 1 0 0 0 0.0 - - -\n", 3, dumpfile.Path},
		{"parent is a link", rootLine + link("l", "/a") + "/l/b 0 100644 1 0 0 0 0.0 - - -\n", 3, dumpfile.Path},
		{"unknown escape", rootLine + `/\q 0 100644 1 0 0 0 0.0 - - -`, 2, dumpfile.Path},
		{"half an escape", rootLine + `/\x1 0 100644 1 0 0 0 0.0 - - -`, 2, dumpfile.Path},
		{"escape without hex", rootLine + `/\xgg 0 100644 1 0 0 0 0.0 - - -`, 2, dumpfile.Path},
		{"backslash at the end", rootLine + `/a\ 0 100644 1 0 0 0 0.0 - - -`, 2, dumpfile.Path},
		{"line of a path only", rootLine + "/a\n", 2, dumpfile.Mode},
		{"size", rootLine + "/a x 100644 1 0 0 0 0.0 - - -\n", 2, dumpfile.Size},
		{"mode of no type", rootLine + "/a 0 644 1 0 0 0 0.0 - - -\n", 2, dumpfile.Mode},
		{"mode not octal", rootLine + "/a 0 100648 1 0 0 0 0.0 - - -\n", 2, dumpfile.Mode},
		{"nlink", rootLine + "/a 0 100644 - 0 0 0 0.0 - - -\n", 2, dumpfile.Nlink},
		{"uid", rootLine + "/a 0 100644 1 0x0 0 0 0.0 - - -\n", 2, dumpfile.UID},
		{"gid, which C overlooks", rootLine + "/a 0 100644 1 1 x 0 0.0 - - -\n", 2, dumpfile.GID},
		{"rdev, which C overlooks", rootLine + "/a 0 100644 1 1 0 x 0.0 - - -\n", 2, dumpfile.Rdev},
		{"mtime without nsec", rootLine + "/a 0 100644 1 0 0 0 0 - - -\n", 2, dumpfile.Mtime},
		{"symlink without target", rootLine + "/a 0 120777 1 0 0 0 0.0 - - -\n", 2, dumpfile.Payload},
		{"symlink of 4096 bytes", rootLine + "/a 0 120777 1 0 0 0 0.0 " + strings.Repeat("t", 4096) + " - -\n", 2, dumpfile.Payload},
		{"content of another size", rootLine + "/a 2 100644 1 0 0 0 0.0 - x -\n", 2, dumpfile.Content},
		{"content too long", rootLine + "/a 5001 100644 1 0 0 0 0.0 - " + strings.Repeat("c", 5001) + " -\n", 2, dumpfile.Content},
		{"short digest", rootLine + "/a 2 100644 1 0 0 0 0.0 p - 1234\n", 2, dumpfile.Digest},
		{"empty digest", rootLine + "/a 2 100644 1 0 0 0 0.0 p - \n", 2, dumpfile.Digest},
		{"digest not hex", rootLine + "/a 2 100644 1 0 0 0 0.0 p - " + strings.Repeat("x", 64) + "\n", 2, dumpfile.Digest},
		{"xattr without equals sign", rootLine + file("user.a"), 2, dumpfile.Xattrs},
		{"two spaces", rootLine + file("user.a=1  user.b=2"), 2, dumpfile.Xattrs},
		{"xattr without name", rootLine + file("=1"), 2, dumpfile.Xattrs},
		{"long xattr name", rootLine + file(strings.Repeat("n", 256)+"=1"), 2, dumpfile.Xattrs},
		{"bad escape in an xattr", rootLine + file(`user.a=\q`), 2, dumpfile.Xattrs},
		{"text of xattrs too long", rootLine + file("user.a="+strings.Repeat("v", 65535)), 2, dumpfile.Xattrs},
		{"xattrs over budget", rootLine + file("user.a="+strings.Repeat("v", 32767-12-7-6+1)), 2, dumpfile.Xattrs},
		{"link to nothing", rootLine + link("a", "/b"), 2, dumpfile.Payload},
		{"link without target", rootLine + link("a", "-"), 2, dumpfile.Payload},
		{"link to itself", rootLine + link("a", "/a"), 2, dumpfile.Payload},
		{"link to a directory", rootLine + link("a", "/"), 2, dumpfile.Payload},
		{"link of type directory", rootLine + "/a 0 @40755 1 0 0 0 0.0 / - -\n", 2, dumpfile.Mode},
		{"links in a circle", rootLine + link("a", "/b") + link("b", "/c") + link("c", "/a"), 2, dumpfile.Payload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dumpfile.Parse(strings.NewReader(tt.text))
			var e *dumpfile.Error
			if !errors.As(err, &e) || !errors.Is(err, dumpfile.ErrSyntax) {
				t.Fatalf("want an *Error, found %v", err)
			}
			if e.Line != tt.line || e.Field != tt.field {
				t.Errorf("want line %d, %v, found: %v", tt.line, tt.field, err)
			}
			if want := fmt.Sprintf("line %d: %v: ", tt.line, tt.field); !strings.Contains(err.Error(), want) {
				t.Errorf("want %q in: %v", want, err)
			}
		})
	}
}

func TestLimitsAreMetExactly(t *testing.T) {
	parse(t, rootLine+"/a 0 100644 1 0 0 0 0.0 - - - user.a="+strings.Repeat("v", 32767-12-7-6)+"\n")
	parse(t, rootLine+"/a 5000 100644 1 0 0 0 0.0 - "+strings.Repeat("c", 5000)+" -\n")
	parse(t, rootLine+"/a 0 120777 1 0 0 0 0.0 "+strings.Repeat("t", 4095)+" - -\n")
	parse(t, rootLine+"/"+strings.Repeat("n", 255)+" 0 100644 1 0 0 0 0.0 - - -\n")
}

func TestParseRefusesNothingAndEndlessLines(t *testing.T) {
	if _, err := dumpfile.Parse(strings.NewReader("")); !errors.Is(err, dumpfile.ErrSyntax) {
		t.Errorf("empty input: want ErrSyntax, found %v", err)
	}
	endless := io.MultiReader(strings.NewReader(rootLine), zeros{})
	if _, err := dumpfile.Parse(endless); !errors.Is(err, dumpfile.ErrSyntax) {
		t.Errorf("a line without end: want ErrSyntax, found %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestIOErrorsComeThrough(t *testing.T) {
	broken := errors.New("broken")
	if _, err := dumpfile.Parse(io.MultiReader(strings.NewReader(rootLine), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("Parse: want the reader's error, found %v", err)
	}
	if err := dumpfile.Write(brokenWriter{broken}, parse(t, rootLine)); !errors.Is(err, broken) {
		t.Errorf("Write: want the writer's error, found %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// manyLines returns a dump of a system of n files: 30 to a directory, with
// labels, every tenth a symlink.
func manyLines(n int) []byte {
	var b bytes.Buffer
	b.WriteString("/ 0 40755 2 0 0 0 1700000000.0 - - - security.selinux=system_u:object_r:root_t:s0\n")
	for i := range n {
		d, f := i/30, i%30
		if f == 0 {
			if d%40 == 0 {
				fmt.Fprintf(&b, "/dir%05d 0 40755 2 0 0 0 1700000000.0 - - - security.selinux=system_u:object_r:usr_t:s0\n", d/40)
			}
			fmt.Fprintf(&b, "/dir%05d/sub%05d 0 40755 2 0 0 0 1700000000.0 - - - security.selinux=system_u:object_r:usr_t:s0\n", d/40, d)
		}
		path := fmt.Sprintf("/dir%05d/sub%05d/file-number-%06d.so", d/40, d, i)
		if f%10 == 9 {
			fmt.Fprintf(&b, "%s 0 120777 1 0 0 0 1700000000.0 file-number-%06d.so - - security.selinux=system_u:object_r:lib_t:s0\n", path, i-1)
			continue
		}
		sum := fmt.Sprintf("%064x", i*0x9e3779b9)
		fmt.Fprintf(&b, "%s %d 100644 1 0 0 0 1700000000.0 %s/%s - %s security.selinux=system_u:object_r:lib_t:s0\n", path, 4096+i, sum[:2], sum[2:], sum)
	}
	return b.Bytes()
}

func BenchmarkParse25000(b *testing.B) {
	text := manyLines(25000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dumpfile.Parse(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite25000(b *testing.B) {
	root := parse(b, string(manyLines(25000)))
	b.ReportAllocs()
	for b.Loop() {
		if err := dumpfile.Write(io.Discard, root); err != nil {
			b.Fatal(err)
		}
	}
}

// Of a dump of some files the lines are those of the whole: an attribute that occurs
// once among them still comes after the file's own if it isn't the only one of the tree.
func TestWriteOfSomeFilesIsPartOfTheWhole(t *testing.T) {
	text := rootLine +
		"/a 0 40755 2 0 0 0 0.0 - - -\n" +
		"/a/f 0 100644 1 0 0 0 0.0 - - - user.own=1 trusted.shared=1\n" +
		"/b 0 100644 1 0 0 0 0.0 - - - trusted.shared=1\n"
	var b bytes.Buffer
	if err := dumpfile.Write(&b, parse(t, text), "a", "nosuch"); err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(strings.SplitAfter(text, "\n")[:3], ""); b.String() != want {
		t.Errorf("%s", firstDifference(want, b.String()))
	}
}
