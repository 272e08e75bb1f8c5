package transform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ErrLayout is the cause if a tree lacks a directory that a root must have.
var ErrLayout = errors.New("tree is no root file system")

// A LayoutError names a directory that a root must have and the tree lacks. It wraps
// ErrLayout.
type LayoutError struct {
	Directory string // at the top
	Missing   bool   // otherwise there is a file of another kind
}

func (e *LayoutError) Error() string {
	found := "a file of another kind"
	if e.Missing {
		found = "none"
	}
	return fmt.Sprintf("%v: want a directory /%s, found %s", ErrLayout, e.Directory, found)
}

func (e *LayoutError) Unwrap() error { return ErrLayout }

// XattrMode says which extended attributes OCI keeps.
type XattrMode uint8

const (
	AllowlistOnly XattrMode = iota // security.capability
	KeepUser                       // security.capability and user.*
)

func (m XattrMode) keeps(name string) bool {
	return name == "security.capability" || m == KeepUser && strings.HasPrefix(name, "user.")
}

// OCI transforms the tree of a container image, or of a directory that is to have the same
// digest as a container image. The tree is changed in place.
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
		return nil, &LayoutError{name, true}
	case n.Kind != tree.Directory:
		return nil, &LayoutError{name, false}
	}
	return n, nil
}
