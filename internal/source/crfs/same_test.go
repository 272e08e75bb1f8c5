package crfs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/testing/testtree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// What JSON can say of a directory gives the images of the directory.
func TestATextHasTheImagesOfItsDirectory(t *testing.T) {
	testutil.RequireRoot(t)
	for seed := range uint64(4) {
		dir := t.TempDir()
		if err := testtree.Grow(dir, seed); err != nil {
			t.Fatal(err)
		}
		want, err := directory.Read(context.Background(), dir, directory.Options{Sink: directory.NewDigests(verity.SHA256)})
		if err != nil {
			t.Fatal(err)
		}
		reduce(want)
		got, err := read(describe(t, want))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
			if !bytes.Equal(image(t, got, f), image(t, want, f)) {
				t.Errorf("seed %d, V%d: another image, of\n%.2000s\nwant that of\n%.2000s", seed, f, dump(t, got), dump(t, want))
			}
		}
	}
}

func image(t *testing.T, root *tree.Node, f erofs.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := erofs.Write(&b, root, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// reduce takes away what the JSON has no words for: nanoseconds, digests as opposed to
// paths, names that aren't UTF-8.
func reduce(root *tree.Node) {
	for _, e := range tree.Walk(root) {
		e.Node.Mtime.Nsec, e.Node.Object = 0, verity.Digest{}
		for _, child := range slices.Clone(e.Node.Entries()) {
			if !utf8.ValidString(child.Name) {
				e.Node.Remove(child.Name)
			}
		}
	}
	tree.Relink(root)
}

// describe writes a tree as JSON.
func describe(t *testing.T, root *tree.Node) string {
	t.Helper()
	first := map[*tree.Node]string{}
	var list []map[string]any
	for path, e := range tree.Walk(root) {
		name := strings.TrimPrefix(path, "/")
		if link, met := first[e.Node]; met {
			list = append(list, map[string]any{"type": "hardlink", "name": name, "linkName": link})
			continue
		}
		first[e.Node] = name
		list = append(list, describeFile(name, e.Node))
	}
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(map[string]any{"entries": list}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func describeFile(name string, n *tree.Node) map[string]any {
	kind := map[tree.Kind]string{
		tree.Regular: "reg", tree.Directory: "dir", tree.CharDevice: "char", tree.BlockDevice: "block",
		tree.FIFO: "fifo", tree.Symlink: "symlink",
	}[n.Kind]
	e := map[string]any{
		"type": kind, "name": name, "mode": n.Perm, "uid": n.UID, "gid": n.GID,
		"modtime": time.Unix(n.Mtime.Sec, 0).UTC().Format(time.RFC3339),
	}
	switch {
	case n.Kind == tree.Symlink:
		e["linkName"] = n.Target
	case n.Kind == tree.CharDevice, n.Kind == tree.BlockDevice:
		e["devMajor"], e["devMinor"] = n.Rdev>>8&0xfff, n.Rdev&0xff|n.Rdev>>12&^0xff
	case len(n.Inline) > 0:
		e["x-content"] = n.Inline
	case n.Kind == tree.Regular:
		e["size"] = n.Size
		if n.Payload != "" {
			e["x-payload"] = n.Payload
		}
	}
	xattrs := map[string][]byte{}
	for _, x := range n.Xattrs() {
		xattrs[x.Name] = x.Value
	}
	e["xattrs"] = xattrs
	return e
}
