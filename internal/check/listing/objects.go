package listing

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// Objects returns the digests of the contents of files that can be objects, each once.
func Objects(root *tree.Node) map[verity.Digest]struct{} {
	all := map[verity.Digest]struct{}{}
	for _, e := range tree.Walk(root) {
		if d := e.Node.ContentObject(); !d.IsZero() {
			all[d] = struct{}{}
		}
	}
	return all
}

// Paths returns the paths, within an object store, of the objects that a tree names: each
// once, in order.
func Paths(root *tree.Node) []string {
	paths := []string{}
	for _, e := range tree.Walk(root) {
		if e.Node.Kind == tree.Regular && e.Node.Payload != "" {
			paths = append(paths, e.Node.Payload)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Missing returns the paths that are in none of the stores, which are open directories. It
// overwrites the list.
func Missing(stores []*os.File, paths []string) []string {
	return slices.DeleteFunc(paths, func(path string) bool {
		return slices.ContainsFunc(stores, func(dir *os.File) bool { return hasObject(dir, path) })
	})
}

// hasObject reports whether overlayfs would find an object in a directory: a regular file,
// reached through no symbolic link.
func hasObject(dir *os.File, path string) bool {
	f, err := osfile.OpenPlain(dir, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer f.Close()
	return osfile.WantRegular(f) == nil
}
