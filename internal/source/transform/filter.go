package transform

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A Filter removes from a tree what mkcomposefs can leave out of a directory. The importers
// of directories and archives have the same options, and don't read these parts at all.
type Filter struct {
	UseEpoch    bool // all times become 0
	SkipDevices bool // no character and block devices, which whiteouts are too
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // only the extended attributes in user.*
}

// Apply changes the tree in place.
func (f Filter) Apply(root *tree.Node) {
	if f == (Filter{}) {
		return
	}
	for _, e := range tree.Walk(root) {
		n := e.Node
		if f.UseEpoch {
			n.Mtime = tree.Time{}
		}
		if f.SkipXattrs || f.UserXattrs {
			n.FilterXattrs(func(name string) bool { return !f.SkipXattrs && strings.HasPrefix(name, "user.") })
		}
		if !f.SkipDevices {
			continue
		}
		for _, child := range slices.Clone(n.Entries()) {
			if k := child.Node.Kind; k == tree.CharDevice || k == tree.BlockDevice {
				n.Remove(child.Name)
			}
		}
	}
}
