package tree_test

import (
	"testing"

	"github.com/composefs-go/composefs/erofs/tree"
)

// After Relink the first name is the original, wherever it was before, and the
// link count is the number of names.
func TestRelink(t *testing.T) {
	root, dir := &tree.Node{Kind: tree.Directory}, &tree.Node{Kind: tree.Directory, Nlink: 9}
	lost, moved, single := &tree.Node{Kind: tree.Regular, Nlink: 7}, &tree.Node{Kind: tree.Symlink, Target: "t"}, &tree.Node{Kind: tree.FIFO, Nlink: 5}
	for _, err := range []error{
		root.Add("dir", dir), dir.Link("a", lost), dir.Link("b", moved), root.Link("e", lost), root.Add("f", moved), root.Link("g", moved), root.Add("h", single),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if names := tree.Linked(root); len(names) != 2 || names[lost] != 2 || names[moved] != 3 {
		t.Errorf("found %v", names)
	}
	tree.Relink(root)
	if err := tree.Check(root); err != nil {
		t.Error(err)
	}
	for path, e := range tree.Walk(root) {
		if want := path == "/e" || path == "/f" || path == "/g"; e.Link != want {
			t.Errorf("%s: want a link %v, found %v", path, want, e.Link)
		}
	}
	if lost.Nlink != 2 || moved.Nlink != 3 || single.Nlink != 1 || dir.Nlink != 9 {
		t.Errorf("found link counts %d, %d, %d, %d", lost.Nlink, moved.Nlink, single.Nlink, dir.Nlink)
	}
}
