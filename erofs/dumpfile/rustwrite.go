package dumpfile

import (
	"fmt"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// appendRustLine appends everything in a line except the path.
func (d *dumper) appendRustLine(b []byte, n *tree.Node, first string) ([]byte, error) {
	if first != "" && d.length <= rustPathMax {
		return append(append(append(b, "0 @120000 - - - - 0.0 "...), first...), " - -"...), nil
	}
	nlink, several := d.names[n]
	if !several {
		nlink = 1
	}
	field, err := checkRust(n, nlink)
	if err == nil && d.length > rustPathMax {
		field, err = Path, fmt.Errorf("want at most %d bytes, found %d", rustPathMax, d.length)
	}
	if err != nil {
		return nil, fmt.Errorf("%.200s: %v: %w", b[:len(b)-1], field, err)
	}
	size := uint64(0)
	switch n.Kind {
	case tree.Directory:
		nlink = 2 + subdirectories(n)
	case tree.Regular, tree.Symlink:
		size = n.Size
	}
	var object verity.Digest
	if n.Kind == tree.Regular && len(n.Inline) == 0 {
		object = n.ContentObject()
	}
	b = append(appendNumbers(b, n, size, nlink, false), ' ')
	if object.IsZero() {
		b = appendOptional(b, n.Target)
	} else {
		b = object.AppendObjectPath(b)
	}
	b = appendOptional(append(b, ' '), n.Inline)
	b = appendDigest(append(b, ' '), object)
	for _, x := range n.Xattrs() {
		b = appendXattr(b, x)
	}
	return b, nil
}

func subdirectories(n *tree.Node) (count uint32) {
	for _, e := range n.Entries() {
		if e.Node.Kind == tree.Directory {
			count++
		}
	}
	return count
}
