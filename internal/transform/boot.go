package transform

import (
	"github.com/composefs-go/composefs/internal/tree"
)

// Content returns the content of a regular file whose content is not in the tree.
type Content func(*tree.Node) ([]byte, error)

// Boot transforms the tree of a root file system into that of an image to boot.
// The content is wanted of a few files below /etc/selinux. The tree is changed in
// place; after an error it is of no use.
func Boot(root *tree.Node, content Content) error {
	usr, err := directory(root, "usr")
	if err != nil {
		return err
	}
	for _, name := range [...]string{"boot", "sysroot"} {
		dir, err := directory(root, name)
		if err != nil {
			return err
		}
		dir.Clear()
		dir.Mtime.Sec = usr.Mtime.Sec // the nanoseconds stay: composefs-rs does so, and they are in the digest
	}
	// An emptied directory may have held the original of a file; the walks below
	// need each file to have one.
	tree.Relink(root)
	p, err := loadPolicy(root, content)
	if err != nil {
		return err
	}
	if p == nil {
		for _, e := range tree.Walk(root) {
			e.Node.RemoveXattr(labelName)
		}
		return nil
	}
	if err := newLabeler(p).label(root); err != nil {
		return err
	}
	tree.Relink(root)
	return nil
}
