package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

const vectorDir = "testdata/vectors"

// A vector is a dump, what mkcomposefs 1.0.8 makes of it, and composefs-rs in V2.
type vector struct {
	Name    string
	Dump    string        `json:"dump"`
	Default *erofs.Format `json:"default"` // the format without version options
	V0, V1  expectedImage
	V2      *expectedImage // of composefs-rs; nil where that refuses
}

var formats = []erofs.Format{erofs.V0, erofs.V1, erofs.V2}

// expectedImage are the digests of an image, or why it is refused.
type expectedImage struct {
	SHA256    string `json:"sha256"`
	Verity    string `json:"verity"`
	Verity512 string `json:"verity512"`
	Fail      string `json:"fail"`
}

func (v vector) image(f erofs.Format) expectedImage {
	switch {
	case f == erofs.V0:
		return v.V0
	case f == erofs.V1:
		return v.V1
	case v.V2 == nil:
		return expectedImage{Fail: "composefs-rs refuses"}
	}
	return *v.V2
}

func vectors(t testing.TB) []vector {
	t.Helper()
	var byName map[string]vector
	if err := json.Unmarshal(testutil.ReadFile(t, filepath.Join(vectorDir, "manifest.json")), &byName); err != nil {
		t.Fatal(err)
	}
	var list []vector
	for name, v := range byName {
		v.Name = name
		list = append(list, v)
	}
	return list
}

// tree returns the tree as mkcomposefs reads it.
func (v vector) tree(t testing.TB) *tree.Node { t.Helper(); return v.treeFor(t, erofs.V0) }

// readByUsAlone are the vectors that composefs-rs refuses to read and we don't: times
// before 1970, which it writes into images and into the text that it makes of them.
var readByUsAlone = []string{"mtime-neg"}

// treeFor returns the tree as the tool reads it whose format it is; nil if that
// refuses the dump.
func (v vector) treeFor(t testing.TB, f erofs.Format) *tree.Node {
	t.Helper()
	text := testutil.ReadFile(t, filepath.Join(vectorDir, v.Dump))
	if f != erofs.V2 {
		return parse(t, text)
	}
	root, err := dumpfile.Rust.Parse(bytes.NewReader(text))
	if refused := v.V2 == nil && !slices.Contains(readByUsAlone, v.Name); (err != nil) != refused {
		t.Errorf("composefs-rs reads the dump: %v, we: %v", v.V2 != nil, err)
	}
	if v.V2 == nil {
		return nil
	}
	return root
}

func parse(t testing.TB, text []byte) *tree.Node {
	t.Helper()
	root, err := dumpfile.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func dump(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	if err := dumpfile.Write(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t testing.TB, root *tree.Node, f erofs.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := erofs.Write(&b, root, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Every image is, bit for bit, the one that mkcomposefs 1.0.8 writes, and in V2
// composefs-rs; what these refuse is refused; and the tree is as it was before.
func TestWriteEqualsOthers(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			for _, f := range formats {
				want, root := v.image(f), v.treeFor(t, f)
				if root == nil {
					continue
				}
				before := dump(t, root)
				var b bytes.Buffer
				hasher, hasher512 := verity.NewHasher(verity.SHA256), verity.NewHasher(verity.SHA512)
				err := erofs.Write(io.MultiWriter(&b, hasher, hasher512), root, f)
				if want.Verity != "" && hasher.Sum().Hex() != want.Verity || want.Verity512 != "" && hasher512.Sum().Hex() != want.Verity512 {
					t.Errorf("%v: the fs-verity digest differs", f)
				}
				switch {
				case want.Fail != "" && err == nil:
					t.Errorf("%v: the others say %q, we wrote an image", f, want.Fail)
				case want.Fail == "" && err != nil:
					t.Errorf("%v: %v", f, err)
				case want.Fail == "" && sha256Hex(b.Bytes()) != want.SHA256:
					t.Errorf("%v: the image differs: want SHA-256 %s, found %s", f, want.SHA256, sha256Hex(b.Bytes()))
				}
				if dump(t, root) != before {
					t.Error("Write changed the tree")
				}
			}
		})
	}
}

// Where the whole image is kept, a failure says at which byte it differs.
func TestWriteEqualsKeptImages(t *testing.T) {
	for _, path := range globVectors(t, "*.v[012].img.gz") {
		name, rest, _ := strings.Cut(filepath.Base(path), ".v")
		want := testutil.ReadFile(t, path)
		got := write(t, parse(t, testutil.ReadFile(t, filepath.Join(vectorDir, name+".dump"))), erofs.Format(rest[0]-'0'))
		if len(got) != len(want) {
			t.Errorf("%s: want %d bytes, found %d", path, len(want), len(got))
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s: at %#x: want %#x, found %#x", path, i, want[i], got[i])
				break
			}
		}
	}
}

func globVectors(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	return paths
}

func TestChooseFormatEqualsMkcomposefs(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Default == nil {
			continue
		}
		got, err := erofs.ChooseFormat(v.tree(t), erofs.V0, erofs.V1)
		if err != nil || got != *v.Default {
			t.Errorf("%s: want %v, found %v, %v", v.Name, *v.Default, got, err)
		}
	}
	whiteout := parse(t, []byte("/ 0 40755 2 0 0 0 0.0 - - -\n/w 0 20644 1 0 0 0 0.0 - - -\n"))
	for _, tt := range []struct{ least, most, want erofs.Format }{{0, 0, 0}, {0, 1, 1}, {1, 1, 1}, {1, 0, 1}} {
		if got, err := erofs.ChooseFormat(whiteout, tt.least, tt.most); err != nil || got != tt.want {
			t.Errorf("formats %v to %v: want %v, found %v, %v", tt.least, tt.most, tt.want, got, err)
		}
	}
	if _, err := erofs.ChooseFormat(whiteout, erofs.V0, erofs.V2); err == nil {
		t.Error("a format that mkcomposefs doesn't know must be refused")
	}
}

// rsDiffers are the vectors of which composefs-rs makes V0 and V1 images that no
// dialect explains, and why.
var rsDiffers = map[string]string{
	"acl-prefix-only":          "it sets the ACL flag for names that begin like an ACL's",
	"min-acl-pfx":              "it sets the ACL flag for names that begin like an ACL's",
	"xattrs":                   "it sets the ACL flag for names that begin like an ACL's",
	"external-sizes":           "an empty file with a payload is an object",
	"min-size0-payload":        "an empty file with a payload is an object",
	"min-dupover":              "it writes a mark of overlayfs that is there already a second time",
	"whiteout-existing-opaque": "it writes a mark of overlayfs that is there already a second time",
	"min-hexwhite":             "it takes a whiteout in the root for a stub",
	"xattr-many":               "it has more than 128 shared xattrs by reference",
}

// Where composefs-rs makes other V0 and V1 images than mkcomposefs, it is mostly
// since it reads another tree: with its dialect we make its images.
func TestRustDialectGivesTheImagesOfComposefsRs(t *testing.T) {
	dumps := make(map[string]vector)
	for _, v := range vectors(t) {
		dumps[v.Name] = v
	}
	for line := range strings.Lines(string(testutil.ReadFile(t, filepath.Join(vectorDir, "composefs-rs-v0-v1.txt")))) {
		var name, want string
		var f erofs.Format
		if _, err := fmt.Sscanf(line, "%s v%d %s", &name, &f, &want); err != nil {
			t.Fatal(err)
		}
		root, err := dumpfile.Rust.Parse(bytes.NewReader(testutil.ReadFile(t, filepath.Join(vectorDir, dumps[name].Dump))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		h := verity.NewHasher(verity.SHA256)
		err = erofs.Write(h, root, f)
		if _, differs := rsDiffers[name]; differs == (err == nil && h.Sum().Hex() == want) {
			t.Errorf("%s, %v: differs %v, expected %v", name, f, !differs, differs)
		}
	}
}
