package erofs

import (
	"errors"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// An effectiveXattr is an xattr as the image has it, which for names of overlayfs
// is not as the tree has it. The value is good until the next inode's.
type effectiveXattr struct {
	name  string
	value []byte
}

func (x effectiveXattr) isACL() bool { return x.name == nameACLAccess || x.name == nameACLDefault }

// rewriter makes effective xattrs, one inode at a time, without touching the
// node. Rule numbers are those of libcomposefs' order of doing it.
type rewriter struct {
	list []effectiveXattr // ascending by name
	used uint64           // see set
	buf  []byte           // for values that are made here
}

var errXattrSpace = errors.New("too many or too large extended attributes for libcomposefs, which refuses this tree too (numerical result out of range)")

// What set counts for an xattr, and for the first of a file.
const (
	xattrCost      = 7
	firstXattrCost = 12
	xattrBudget    = 32767
)

// marks are the overlayfs rewritings that apply to an inode for V0 and V1.
type marks struct {
	whiteout  bool // it was one, and is a regular file now
	whiteouts bool // a directory with such
	opaque    bool // and the format marks it opaque too
	root      bool
}

// rewrite makes the effective xattrs of n.
func (r *rewriter) rewrite(n *tree.Node, m marks) ([]effectiveXattr, error) {
	r.list, r.used, r.buf = r.list[:0], 0, r.buf[:0]
	for _, x := range n.Xattrs() {
		r.list = append(r.list, effectiveXattr{escapeName(x.Name), x.Value}) // stays in order
	}
	var err error
	set := func(name string, value []byte) {
		if err == nil {
			err = r.set(name, value)
		}
	}
	if isExternal(n) {
		r.buf = appendMetacopy(r.buf, n.Object)
		metacopy := r.buf
		set(nameMetacopy, metacopy)
		if n.Payload != "" {
			r.buf = append(append(r.buf, '/'), n.Payload...)
			set(nameRedirect, r.buf[len(metacopy):])
		}
	}
	if m.whiteout {
		set(nameEscapedWhiteout, nil)
		set(nameUserWhiteout, nil)
	}
	if m.whiteouts {
		set(nameEscapedWhiteouts, nil)
		set(nameUserWhiteouts, nil)
	}
	if m.whiteouts && m.opaque {
		set(nameEscapedOpaque, []byte("x"))
		set(nameUserOpaque, []byte("x"))
	}
	if m.root {
		set(nameOpaque, []byte("y"))
	}
	return r.list, err
}

// set adds or replaces an xattr. It counts as libcomposefs does on its copy of
// the tree, where the sum starts at 0 although there are xattrs, and may pass
// below 0, which fails: what C refuses has no image that we could agree on.
func (r *rewriter) set(name string, value []byte) error {
	i, found := slices.BinarySearchFunc(r.list, name, func(x effectiveXattr, s string) int { return strings.Compare(x.name, s) })
	if found {
		r.used -= uint64(xattrCost + len(name) + len(r.list[i].value))
		r.list = slices.Delete(r.list, i, i+1)
		if len(r.list) == 0 {
			r.used = 0
		}
	}
	r.used += uint64(xattrCost + len(name) + len(value))
	if len(r.list) == 0 {
		r.used += firstXattrCost
	}
	if r.used > xattrBudget {
		return errXattrSpace
	}
	r.list = slices.Insert(r.list, i, effectiveXattr{name, value})
	return nil
}

// isExternal reports whether a node's content is an object.
func isExternal(n *tree.Node) bool {
	return n.Kind == tree.Regular && n.Size > 0 && len(n.Inline) == 0
}
