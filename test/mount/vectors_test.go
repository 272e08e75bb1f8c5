package mount

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/testing/kernelview"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const vectorDir = "../../erofs/testdata/vectors"

// A vector is a dump, and in which formats it has an image.
type vector struct {
	Dump   string `json:"dump"`
	V0, V1 struct {
		Fail string `json:"fail"`
	}
	V2 *struct{} // nil where composefs-rs refuses it
}

// tree returns the tree as the tools read it whose format it is, nil if they make no
// image of it.
func (v vector) tree(t *testing.T, f erofs.Format) *tree.Node {
	t.Helper()
	dialect := dumpfile.C
	switch {
	case f == erofs.V0 && v.V0.Fail != "", f == erofs.V1 && v.V1.Fail != "", f == erofs.V2 && v.V2 == nil:
		return nil
	case f == erofs.V2:
		dialect = dumpfile.Rust
	}
	root, err := dialect.Parse(bytes.NewReader(testutil.ReadFile(t, filepath.Join(vectorDir, v.Dump))))
	if err != nil {
		t.Fatalf("%s: %v", v.Dump, err)
	}
	return root
}

// writeVectors writes the images of all vectors in all formats, each with what the
// kernel should show of it, and returns their names.
func writeVectors(t *testing.T, dir string) (names []string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(vectorDir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]vector
	if err := json.Unmarshal(manifest, &vectors); err != nil {
		t.Fatal(err)
	}
	for vector, v := range vectors {
		for _, f := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
			root := v.tree(t, f)
			if root == nil {
				continue
			}
			name := fmt.Sprintf("%s.v%d", vector, f)
			writeVector(t, filepath.Join(dir, name), root, f)
			names = append(names, name)
		}
	}
	return names
}

func writeVector(t *testing.T, name string, root *tree.Node, f erofs.Format) {
	t.Helper()
	var image bytes.Buffer
	if err := erofs.Write(&image, root, f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	view, options := kernelview.View{Format: f, ACL: kernelview.ACLsAreValid(root)}, "noacl"
	if view.ACL {
		options = "acl"
	}
	write(t, name+".img", image.String())
	write(t, name+".want", options+"\n"+strings.Join(view.Stored(root), "\n"))
}

// vectors checks that the machine saw of each image what it should: no kernel differs.
func (c check) vectors(k kernel) {
	c.Helper()
	for _, name := range c.l.vectors {
		c.is("image "+name, `"ok"`)
	}
	c.is("images mounted from", k.mountsFrom)
	c.is("lists are obeyed", "true")
}
