package tree

import (
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// ContentObject returns the digest of the object with a regular file's content: Object, or
// otherwise the digest in the payload. It is zero if there is neither.
func (n *Node) ContentObject() verity.Digest {
	if !n.Object.IsZero() {
		return n.Object
	}
	return PayloadObject(n.Payload)
}

// PayloadObject returns the digest at the end of a payload, as in "…/0f/0e…", or zero if
// there is none.
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
