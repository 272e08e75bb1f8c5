package erofs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// stubCount is the number of whiteouts in the root of a V0 or V1 image, one for
// every directory that an object store may have.
const stubCount = 256

// stubPerm are a stub's permissions.
const stubPerm = 0o644

// withStubs returns the root's entries and the stubs whose names are not taken;
// all of these are the node stub.
func withStubs(root *tree.Node) (list []tree.Entry, stub *tree.Node) {
	stub = &tree.Node{Kind: tree.CharDevice, Perm: stubPerm, Nlink: 1, UID: root.UID, GID: root.GID, Mtime: root.Mtime}
	if label, ok := root.Xattr(nameSELinux); ok {
		stub.SetXattr(nameSELinux, label)
	}
	list = append(make([]tree.Entry, 0, root.Len()+stubCount), root.Entries()...)
	for i := range stubCount {
		if name := fmt.Sprintf("%02x", i); root.Lookup(name) == nil {
			list = append(list, tree.Entry{Name: name, Node: stub})
		}
	}
	slices.SortFunc(list, func(a, b tree.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, stub
}
