package transform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ErrLayout is the cause when a tree lacks a directory that a root must have.
var ErrLayout = errors.New("tree is no root file system")

// XattrMode says which extended attributes OCI keeps.
type XattrMode uint8

const (
	AllowlistOnly XattrMode = iota // security.capability
	KeepUser                       // security.capability and user.*
)

func (m XattrMode) keeps(name string) bool {
	return name == "security.capability" || m == KeepUser && strings.HasPrefix(name, "user.")
}

// OCI transforms the tree of a container image, or of a directory that shall give
// the same digest as one. The tree is changed in place.
func OCI(root *tree.Node, mode XattrMode) error {
	usr, err := directory(root, "usr")
	if err != nil {
		return err
	}
	root.Perm, root.UID, root.GID, root.Mtime = usr.Perm, usr.UID, usr.GID, usr.Mtime
	root.SetXattrs(slices.Clone(usr.Xattrs()))
	if root.Lookup("run") != nil {
		run, err := directory(root, "run")
		if err != nil {
			return err
		}
		run.Clear()
		run.Mtime = usr.Mtime
	}
	for _, e := range tree.Walk(root) {
		e.Node.FilterXattrs(mode.keeps)
	}
	tree.Relink(root)
	return nil
}

// directory returns a directory of the root.
func directory(root *tree.Node, name string) (*tree.Node, error) {
	n := root.Lookup(name)
	switch {
	case n == nil:
		return nil, fmt.Errorf("%w: want a directory /%s, found none: make it, even if it is empty", ErrLayout, name)
	case n.Kind != tree.Directory:
		return nil, fmt.Errorf("%w: want a directory /%s, found a file that is none", ErrLayout, name)
	}
	return n, nil
}
