package crfs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// Any bytes give an error or a valid tree, in memory that their number bounds, however
// they come in; and written as entries again they give the same tree.
func FuzzRead(f *testing.F) {
	f.Add([]byte(entries(`{"type": "reg", "name": "d/a", "mode": 420, "uid": 5, "size": 9, "x-payload": "p", "xattrs": {"user.a": "MQ=="}}`,
		`{"type": "hardlink", "name": "l", "linkName": "d/a"}`, `{"type": "symlink", "name": "ü", "linkName": "x", "modtime": "2024-05-01T12:00:00Z"}`)))
	f.Add([]byte(entries(`{"type": "char", "name": "c", "devMajor": 1, "devMinor": 3}`, `{"type": "reg", "name": "r", "x-content": "MQ=="}`,
		`{"type": "reg", "name": "q", "size": 1, "digest": "sha256:`+hash+`"}`, `{"type": "chunk"}`)))
	f.Add([]byte(entries(`{"type": "dir", "name": "d", "mode": 493, "modtime": "1960-01-01T00:00:00.5+01:00"}`, `{"type": "fifo", "name": "./d//p"}`,
		`{"type": "block", "name": "b", "devMajor": 4095, "devMinor": 1048575}`, `{"type": "dir", "name": "d", "xattrs": {"user.a": ""}, "x": [{"y": null}]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var root *tree.Node
		var err error
		testutil.BoundMemory(t, len(b), func() { root, err = readFrom(bytes.NewReader(b)) })
		if err != nil {
			var where *crfs.Error
			if !errors.As(err, &where) || !errors.Is(err, crfs.ErrSyntax) {
				t.Errorf("want an error that says where, found %v", err)
			}
			return
		}
		if err := tree.Check(root); err != nil {
			t.Fatal(err)
		}
		again, err := readFrom(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("in small pieces: %v", err)
		}
		same(t, root, again)
		text, ok := asEntries(t, root)
		if !ok {
			return
		}
		if again, err = readFrom(bytes.NewReader(text)); err != nil {
			t.Fatalf("as written: %v\n%s", err, text)
		}
		same(t, root, again)
	})
}

func same(t *testing.T, a, b *tree.Node) {
	t.Helper()
	for difference := range treediff.Trees(a, b) {
		t.Errorf("the tree changed (A was first): %v", difference)
	}
}

var typeNames = map[tree.Kind]string{
	tree.Regular: "reg", tree.Directory: "dir", tree.CharDevice: "char", tree.BlockDevice: "block", tree.FIFO: "fifo", tree.Symlink: "symlink",
}

// asEntries writes a tree as CRFS text: originals first, as links need them. A time
// whose year has no four digits in UTC can't be written.
func asEntries(t *testing.T, root *tree.Node) (text []byte, ok bool) {
	t.Helper()
	var files, links []map[string]any
	originals := make(map[*tree.Node]string)
	for path, e := range tree.Walk(root) {
		if !e.Link {
			originals[e.Node] = path
			files = append(files, asEntry(path, e.Node))
		}
		mtime := time.Unix(e.Node.Mtime.Sec, 0).UTC()
		if mtime.Year() < 0 || mtime.Year() > 9999 {
			return nil, false
		}
	}
	for path, e := range tree.Walk(root) {
		if e.Link {
			links = append(links, map[string]any{"type": "hardlink", "name": path, "linkName": originals[e.Node]})
		}
	}
	text, err := json.Marshal(map[string]any{"version": 1, "entries": append(files, links...)})
	if err != nil {
		t.Fatal(err)
	}
	return text, true
}

func asEntry(path string, n *tree.Node) map[string]any {
	e := map[string]any{
		"type": typeNames[n.Kind], "name": path, "mode": n.Perm, "uid": n.UID, "gid": n.GID,
		"modtime": time.Unix(n.Mtime.Sec, 0).UTC().Format(time.RFC3339),
	}
	xattrs := map[string]string{}
	for _, x := range n.Xattrs() {
		xattrs[x.Name] = base64.StdEncoding.EncodeToString(x.Value)
	}
	e["xattrs"] = xattrs
	switch n.Kind {
	case tree.Symlink:
		e["linkName"] = n.Target
	case tree.CharDevice, tree.BlockDevice:
		e["devMajor"], e["devMinor"] = n.Rdev>>8&0xfff, n.Rdev&0xff|n.Rdev>>12&^0xff
	case tree.Regular:
		if e["size"] = n.Size; n.Payload != "" {
			e["x-payload"] = n.Payload
		}
		if len(n.Inline) > 0 {
			e["x-content"] = base64.StdEncoding.EncodeToString(n.Inline)
		}
	}
	return e
}

// The texts that say most in the fewest bytes stay within the bound too.
func TestMemoryIsBoundedByTheText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry func(i int) string
	}{
		{"files", func(i int) string { return `{"type":"fifo","name":"` + base36(i) + `"}` }},
		{"hard links", func(i int) string { return `{"type":"hardlink","name":"` + base36(i) + `","linkName":"f"}` }},
		{"directories without entries", func(i int) string {
			return `{"type":"fifo","name":"` + base36(i) + `/` + base36(i) + `"}`
		}},
		{"attributes", func(i int) string {
			var b strings.Builder
			b.WriteString(`{"type":"fifo","name":"` + base36(i) + `","xattrs":{"a":""`)
			for c := 'b'; c < 'z'; c++ {
				b.WriteString(`,"` + string(c) + `":""`)
			}
			return b.String() + "}}"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := []string{`{"type":"fifo","name":"f"}`}
			for i := range 50_000 {
				list = append(list, tt.entry(i))
			}
			testutil.BoundMemoryInUse(t, []byte(entries(list...)), func(r io.Reader) *tree.Node {
				root, err := readFrom(r)
				if err != nil && !strings.Contains(err.Error(), "too many directories") {
					t.Error(err)
				}
				return root
			})
		})
	}
}

// base36 returns names of four letters.
func base36(i int) string { return strconv.FormatInt(int64(i)+36*36*36, 36) }
