package tree_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/tree"
)

func dir() *tree.Node  { return &tree.Node{Kind: tree.Directory, Perm: 0o755} }
func file() *tree.Node { return &tree.Node{Kind: tree.Regular, Perm: 0o644, Nlink: 1} }

// good returns a tree with one of each thing, and its directory /usr.
func good(t *testing.T) (root, usr *tree.Node) {
	t.Helper()
	root, usr = dir(), dir()
	original := file()
	original.SetXattr("user.x", []byte("1"))
	add(t, root, "usr", usr)
	add(t, root, "zz", original)
	add(t, usr, "sh", &tree.Node{Kind: tree.Symlink, Target: "bash"})
	add(t, usr, "null", &tree.Node{Kind: tree.CharDevice, Rdev: 0x103})
	if err := usr.Link("a-link", original); err != nil {
		t.Fatal(err)
	}
	return root, usr
}

func add(t *testing.T, dir *tree.Node, name string, n *tree.Node) {
	t.Helper()
	if err := dir.Add(name, n); err != nil {
		t.Fatal(err)
	}
}

func TestCheckAcceptsAGoodTree(t *testing.T) {
	root, _ := good(t)
	if err := tree.Check(root); err != nil {
		t.Error(err)
	}
}

func TestCheckNamesThePathOfTheFault(t *testing.T) {
	long := strings.Repeat("x", 5001)
	tests := []struct {
		name  string
		spoil func(t *testing.T, root, usr *tree.Node)
		want  string
	}{
		{"cycle", func(t *testing.T, root, usr *tree.Node) { add(t, usr, "up", root) }, `"/usr/up": the file is also at another place in the tree`},
		{"directory in two places", func(t *testing.T, root, usr *tree.Node) { add(t, root, "usr2", usr) }, `"/usr2": the file is also at another place in the tree`},
		{"file in two places", func(t *testing.T, root, usr *tree.Node) { add(t, usr, "z2", root.Lookup("zz")) }, `"/zz": the file is also at another place in the tree`},
		{"link to a directory", func(t *testing.T, root, usr *tree.Node) { link(t, root, "l", usr) }, `"/l": a hard link to a directory`},
		{"link to the outside", func(t *testing.T, root, usr *tree.Node) { link(t, usr, "l", file()) }, `"/usr/l": the original of this hard link is not in the tree`},
		{"name without file", func(t *testing.T, root, usr *tree.Node) { add(t, usr, "nil", nil) }, `"/usr/nil": the name stands for no file`},
		{"unknown kind", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Kind = 8 }, `"/usr/sh": unknown kind 8`},
		{"zero kind", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Kind = 0 }, `"/usr/sh": unknown kind 0`},
		{"type bits in permissions", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Perm = 0o10000 }, `"/usr/sh": permissions 010000`},
		{"children of a file", func(t *testing.T, root, usr *tree.Node) { add(t, usr.Lookup("null"), "x", file()) }, `"/usr/null": not a directory`},
		{"empty symlink", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Target = "" }, `"/usr/sh": symlink target: want 1 to 4095 bytes, found 0`},
		{"long symlink", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Target = long[:4096] }, `found 4096`},
		{"NUL in symlink", func(t *testing.T, root, usr *tree.Node) { usr.Lookup("sh").Target = "a\x00b" }, `"/usr/sh": symlink target: NUL`},
		{"xattr without name", func(t *testing.T, root, usr *tree.Node) { usr.SetXattr("", nil) }, `"/usr": name of an extended attribute: want 1 to 255`},
		{"long xattr name", func(t *testing.T, root, usr *tree.Node) { root.SetXattr(long[:256], nil) }, `"/": name of an extended attribute: want 1 to 255 bytes, found 256`},
		{"long xattr value", func(t *testing.T, root, usr *tree.Node) { usr.SetXattr("user.x", make([]byte, 65536)) }, `65536 bytes`},
		{"inline too long", func(t *testing.T, root, usr *tree.Node) { root.Lookup("zz").Inline = []byte(long) }, `"/zz": 5001 bytes of content`},
		{"inline of another size", func(t *testing.T, root, usr *tree.Node) { root.Lookup("zz").Inline = []byte("x") }, `"/zz": the size is 0`},
		{"long payload", func(t *testing.T, root, usr *tree.Node) { root.Lookup("zz").Payload = long }, `"/zz": payload`},
		{"too deep", func(t *testing.T, root, usr *tree.Node) {
			for range tree.DepthMax {
				d := dir()
				add(t, usr, "d", d)
				usr = d
			}
		}, `nested more than 4096 deep`},
		{"root is a file", func(t *testing.T, root, usr *tree.Node) { root.Kind = tree.Regular }, `the root must be a directory`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, usr := good(t)
			tt.spoil(t, root, usr)
			err := tree.Check(root)
			if !errors.Is(err, tree.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check: want an ErrInvalid with %q, found %.300v", tt.want, err)
			}
		})
	}
}

func link(t *testing.T, dir *tree.Node, name string, n *tree.Node) {
	t.Helper()
	if err := dir.Link(name, n); err != nil {
		t.Fatal(err)
	}
}

func TestCheckRefusesNoTree(t *testing.T) {
	if err := tree.Check(nil); !errors.Is(err, tree.ErrInvalid) {
		t.Errorf("Check(nil): want ErrInvalid, found %v", err)
	}
}

func TestWalkGoesInOrderAndStops(t *testing.T) {
	root, _ := good(t)
	var got []string
	for path, e := range tree.Walk(root) {
		if e.Link {
			path += " (link)"
		}
		got = append(got, path)
	}
	want := "/ /usr /usr/a-link (link) /usr/null /usr/sh /zz"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("Walk: want %s, found %s", want, s)
	}
	steps := 0
	for range tree.Walk(root) {
		if steps++; steps == 3 {
			break
		}
	}
}
