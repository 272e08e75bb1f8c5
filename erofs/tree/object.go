package tree

import (
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// ContentObject returns the object that a regular file's content is: the digest,
// or else what the payload names. It is zero when there is neither.
func (n *Node) ContentObject() verity.Digest {
	if !n.Object.IsZero() {
		return n.Object
	}
	return PayloadObject(n.Payload)
}

// PayloadObject returns the digest that the end of a payload spells, "…/0f/0e…",
// zero if it doesn't.
func PayloadObject(payload string) verity.Digest {
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
