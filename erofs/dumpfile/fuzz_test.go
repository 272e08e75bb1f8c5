package dumpfile_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// Any bytes are refused with line and field, or give a valid tree in memory that
// their number bounds, which is the same one after it was written and read.
func FuzzParse(f *testing.F) {
	for _, path := range glob(f, "*.dump") {
		if text := string(testutil.ReadFile(f, path)); len(text) < 4096 {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte(rootLine + `/\x2d 1 120777 1 0 0 0 -1.5 \x2d - -` + "\n/l 0 @120000 - - - - 0.0 /\\x2d - -"))
	for _, path := range []string{"policy", "nopolicy-dir", "notype"} {
		f.Add(testutil.ReadFile(f, "testdata/rust/"+path+".plain.dump"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, d := range []dumpfile.Dialect{dumpfile.C, dumpfile.Strict, dumpfile.Rust} {
			checkRoundTrip(t, d, text)
		}
	})
}

func checkRoundTrip(t *testing.T, d dumpfile.Dialect, text []byte) {
	t.Helper()
	var root *tree.Node
	var err error
	testutil.BoundMemory(t, len(text), func() { root, err = d.Parse(bytes.NewReader(text)) })
	if err != nil {
		var where *dumpfile.Error
		if !errors.As(err, &where) && len(text) > 0 && d != dumpfile.Rust {
			t.Errorf("dialect %d: want an error that names line and field, found %v", d, err)
		}
		return
	}
	if err := tree.Check(root); err != nil {
		t.Fatalf("a parsed tree must pass Check: %v", err)
	}
	once := writeAs(t, d, root)
	back, err := d.Parse(strings.NewReader(once))
	if err != nil {
		t.Fatalf("dialect %d: what is written must be read: %v", d, err)
	}
	if twice := writeAs(t, d, back); once != twice {
		t.Errorf("dialect %d: the text changed:\n%s", d, firstDifference(once, twice))
	}
	asWritten(root, d)
	for difference := range treediff.Trees(root, back) {
		t.Errorf("dialect %d: the tree changed (A was first): %v", d, difference)
	}
}

// asWritten does to a tree what writing it does: the first name of a file becomes its
// original, and in Rust a digest in the payload stands in its own field too.
func asWritten(root *tree.Node, d dumpfile.Dialect) {
	counts := make(map[*tree.Node]uint32)
	for _, e := range tree.Walk(root) {
		n := e.Node
		counts[n] = n.Nlink
		if d == dumpfile.Rust && n.Kind == tree.Regular && len(n.Inline) == 0 {
			n.Object = n.ContentObject()
		}
	}
	tree.Relink(root)
	for n, count := range counts {
		n.Nlink = count
	}
}

// The texts that say most in the fewest bytes stay within the bound too.
func TestMemoryIsBoundedByTheText(t *testing.T) {
	const head, n = rootLine + "f 0 10000 0 0 0 0 0.0\n", 300_000
	for _, tt := range []struct {
		name string
		line func(i int) string
	}{
		{"files", func(i int) string { return strconv.FormatInt(int64(i)+36*36*36*36, 36) + " 0 10000 0 0 0 0 0.0\n" }},
		{"files in descending order", func(i int) string { return strconv.FormatInt(36*36*36*36*2-int64(i), 36) + " 0 10000 0 0 0 0 0.0\n" }},
		{"hard links", func(i int) string { return strconv.FormatInt(int64(i)+36*36*36*36, 36) + " 0 @10000      f\n" }},
		{"directories of one directory", func(i int) string {
			name := strconv.FormatInt(int64(i)+36*36*36*36, 36)
			return name + " 0 40000 0 0 0 0 0.0\n" + name + "/a 0 40000 0 0 0 0 0.0\n" + name + "/a/a 0 40000 0 0 0 0 0.0\n"
		}},
		{"attributes", func(i int) string {
			if i > n/200 {
				return ""
			}
			var b strings.Builder
			b.WriteString(strconv.FormatInt(int64(i)+36*36*36, 36) + " 0 10000 0 0 0 0 0.0 - - -")
			for c := '!'; c < '~'; c++ {
				if c != '=' && c != '\\' {
					b.WriteString(" " + string(c) + "=")
				}
			}
			return b.String() + "\n"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text bytes.Buffer
			text.WriteString(head)
			for i := range n {
				text.WriteString(tt.line(i))
			}
			testutil.BoundMemoryInUse(t, text.Bytes(), func(r io.Reader) *tree.Node {
				root, err := dumpfile.Parse(r)
				if err != nil {
					t.Error(err)
				}
				return root
			})
		})
	}
}
