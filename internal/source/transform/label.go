package transform

import (
	"bytes"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// labelName is the xattr that holds a file's SELinux context. composefs-rs writes
// it without the NUL at the end that other tools add.
const labelName = "security.selinux"

// A labeler gives files the labels of a policy.
type labeler struct {
	policy *policy
	first  map[*tree.Node][]byte // labels of the files seen so far, by their first name
}

func newLabeler(p *policy) *labeler { return &labeler{p, make(map[*tree.Node][]byte)} }

func (l *labeler) label(root *tree.Node) error {
	label, err := l.policy.lookup("/", typeOf(root.Kind))
	if err != nil {
		return err
	}
	setLabel(root, label)
	return l.dir(root, "")
}

// dir labels the files in a directory. The path is the one in the policy: where the policy
// has an alias for the path, it is the original of the alias.
func (l *labeler) dir(dir *tree.Node, path string) error {
	for _, e := range dir.Entries() {
		child := path + "/" + e.Name
		if original, ok := l.policy.aliases[child]; ok {
			child = original
		}
		label, err := l.policy.lookup(child, typeOf(e.Node.Kind))
		if err != nil {
			return err
		}
		if e.Node.Kind != tree.Directory {
			l.leaf(dir, e, label)
			continue
		}
		setLabel(e.Node, label)
		if err := l.dir(e.Node, strings.TrimRight(child, "/")); err != nil {
			return err
		}
	}
	return nil
}

// leaf labels a file that isn't a directory. If a further name needs another label than
// the first, it gets a copy of the file.
func (l *labeler) leaf(dir *tree.Node, e tree.Entry, label []byte) {
	if e.Node.Nlink > 1 { // otherwise it has no other name: Relink has counted them
		first, met := l.first[e.Node]
		switch {
		case !met:
			l.first[e.Node] = label
		case bytes.Equal(first, label):
			return
		default:
			twin := *e.Node
			twin.SetXattrs(slices.Clone(e.Node.Xattrs()))
			dir.Replace(e.Name, &twin, false)
			e.Node = &twin
		}
	}
	setLabel(e.Node, label)
}

func setLabel(n *tree.Node, label []byte) {
	if label == nil {
		n.RemoveXattr(labelName)
		return
	}
	n.SetXattr(labelName, label)
}

// typeOf returns the letter that file_contexts has for a kind of file.
func typeOf(k tree.Kind) byte {
	return [256]byte{
		tree.Regular:     '-',
		tree.Directory:   'd',
		tree.CharDevice:  'c',
		tree.BlockDevice: 'b',
		tree.FIFO:        'p',
		tree.Socket:      's',
		tree.Symlink:     'l',
	}[k]
}
