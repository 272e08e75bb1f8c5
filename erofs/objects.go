package erofs

import (
	"iter"
	"strings"

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
	if isExternal(n) {
		if !n.Object.IsZero() && !yield(n.Object, nil) {
			return false
		}
		if d := payloadObject(n.Payload); !d.IsZero() && d != n.Object && !yield(d, nil) {
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

// payloadObject returns the digest that the end of a payload spells, "…/0f/0e…",
// zero if it doesn't.
func payloadObject(payload string) verity.Digest {
	for _, alg := range [...]verity.Algorithm{verity.SHA256, verity.SHA512} {
		start := len(payload) - 2*alg.Size() - 1
		if start < 0 || start > 0 && !strings.HasSuffix(payload[:start], "/") {
			continue
		}
		if d, err := verity.ParseObjectPath(payload[start:]); err == nil {
			return d
		}
	}
	return verity.Digest{}
}
