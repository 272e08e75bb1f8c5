package main

import (
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// contents returns the objects that the files of a tree are.
func contents(root *tree.Node) map[verity.Digest]struct{} {
	all := map[verity.Digest]struct{}{}
	for _, e := range tree.Walk(root) {
		if d := e.Node.ContentObject(); !d.IsZero() {
			all[d] = struct{}{}
		}
	}
	return all
}

// imageObjects returns the digests of all objects that an image names, each once,
// in order.
func imageObjects(img *erofs.Image) ([]verity.Digest, error) {
	var all []verity.Digest
	for d, err := range img.Objects() {
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	slices.SortFunc(all, verity.Digest.Compare)
	return slices.Compact(all), nil
}
