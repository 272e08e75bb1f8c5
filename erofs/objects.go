package erofs

import (
	"iter"

	"github.com/composefs-go/composefs/internal/tree"
	"github.com/composefs-go/composefs/verity"
)

// Objects returns the digests of all objects that the image's files refer to, in
// the order of their paths; by the digest to verify, by the path in the object
// store, or both. An object of several files comes several times. After an error
// there is nothing more.
func (m *Image) Objects() iter.Seq2[verity.Digest, error] {
	return func(yield func(verity.Digest, error) bool) {
		root, err := m.Tree()
		if err != nil {
			yield(verity.Digest{}, err)
			return
		}
		yieldObjects(root, yield)
	}
}

func yieldObjects(n *tree.Node, yield func(verity.Digest, error) bool) bool {
	if hasObject(n) {
		if !n.Object.IsZero() && !yield(n.Object, nil) {
			return false
		}
		if d := tree.PayloadObject(n.Payload); !d.IsZero() && d != n.Object && !yield(d, nil) {
			return false
		}
	}
	for _, e := range n.Entries() {
		if !e.Link && !yieldObjects(e.Node, yield) {
			return false
		}
	}
	return true
}
