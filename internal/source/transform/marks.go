package transform

import (
	"slices"

	"github.com/composefs-go/composefs/erofs/tree"
)

// DropMarks removes the attributes by which V1 marks directories with whiteouts, and which
// erofs.Image.Tree leaves in place: trusted.overlay.opaque and user.overlay.opaque, both x.
// Then the tree gives the same image in V1, and the image of its source in other formats.
func DropMarks(root *tree.Node) {
	const trusted, user = "trusted.overlay.opaque", "user.overlay.opaque"
	for _, e := range tree.Walk(root) {
		n := e.Node
		if !slices.ContainsFunc(n.Entries(), func(e tree.Entry) bool { return e.Node.IsWhiteout() }) {
			continue
		}
		t, _ := n.Xattr(trusted)
		u, _ := n.Xattr(user)
		if string(t) == "x" && string(u) == "x" {
			n.RemoveXattr(trusted)
			n.RemoveXattr(user)
		}
	}
}
