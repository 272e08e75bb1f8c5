package treediff

import (
	"math"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// An Update is what a machine with the objects of A still needs for B. Sizes are the
// ones that B claims.
type Update struct {
	Objects int    `json:"objects"`
	Bytes   uint64 `json:"bytes"`
}

// An object is identified by its digest, or if it has none by its path in the object store.
type object struct {
	digest  verity.Digest
	payload string
}

// NewUpdate returns what an update from a to b transfers.
func NewUpdate(a, b *tree.Node) Update {
	have := objects(a)
	var u Update
	for o, size := range objects(b) {
		if _, ok := have[o]; ok {
			continue
		}
		u.Objects++
		u.Bytes += min(size, math.MaxUint64-u.Bytes) // the claims may add up to more
	}
	return u
}

// objects returns the objects of a tree with their sizes.
func objects(root *tree.Node) map[object]uint64 {
	sizes := map[object]uint64{}
	for _, e := range tree.Walk(root) {
		if !isObject(e.Node) {
			continue
		}
		o := object{digest: e.Node.ContentObject()}
		if o.digest.IsZero() {
			o.payload = e.Node.Payload
		}
		if o != (object{}) {
			sizes[o] = e.Node.Size
		}
	}
	return sizes
}
