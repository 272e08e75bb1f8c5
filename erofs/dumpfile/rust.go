package dumpfile

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/erofs/tree"
)

// Limits of composefs-rs for a file, in bytes.
const (
	rustPathMax    = 4096
	rustInlineMax  = 512
	rustTargetMax  = 1024
	rustXattrNames = 65535 // of all of a file's xattrs together
)

// nsecMax is the largest number of nanoseconds in Rust. C accepts any number.
const nsecMax = 999_999_999

// checkRust returns an error, and its field, if composefs-rs can't read a file with so many
// names.
func checkRust(n *tree.Node, names uint32) (Field, error) {
	switch {
	case n.IsWhiteout() && names > 1:
		return Nlink, errors.New("a whiteout with several names, which composefs-rs refuses")
	case n.Mtime.Nsec > nsecMax:
		return Mtime, fmt.Errorf("want at most %d nanoseconds, found %d", nsecMax, n.Mtime.Nsec)
	case len(n.Target) > rustTargetMax:
		return Payload, fmt.Errorf("want a symlink of at most %d bytes, found %d", rustTargetMax, len(n.Target))
	case len(n.Inline) > rustInlineMax:
		return Content, fmt.Errorf("want at most %d bytes, found %d", rustInlineMax, len(n.Inline))
	case len(n.Inline) == 0 && n.Payload == "" && !n.Object.IsZero():
		return Digest, errors.New("a digest without a payload")
	case len(n.Inline) == 0 && n.Payload != "" && n.ContentObject().IsZero():
		return Payload, fmt.Errorf("want a digest, or a payload that ends in one as in 0f/0e…, found payload %.200q", n.Payload)
	}
	text := 0
	for _, x := range n.Xattrs() {
		text += len(x.Name)
	}
	if text > rustXattrNames {
		return Xattrs, fmt.Errorf("want at most %d bytes of names, found %d", rustXattrNames, text)
	}
	return 0, nil
}
