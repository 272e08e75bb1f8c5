package transform

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A Filter leaves out of a tree what mkcomposefs can leave out of a directory. The
// importers of directories and archives have the same options and don't even read it.
type Filter struct {
	UseEpoch    bool // all times become 0
	SkipDevices bool // no character and block devices, whiteouts neither
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // of the extended attributes only user.*
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
