package main

import (
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

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
