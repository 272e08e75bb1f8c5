package erofs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// fill sets all of a node but its children.
func (l *loader) fill(n *tree.Node, i *record) error {
	n.Kind, n.Perm, n.Nlink, n.UID, n.GID, n.Mtime = i.kind, i.perm, i.nlink, i.uid, i.gid, i.mtime
	switch i.kind {
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev, n.Size = i.u, l.impliedSize(i)
	case tree.FIFO, tree.Socket:
		n.Size = l.impliedSize(i)
	case tree.Directory:
		n.Size = i.size
	case tree.Symlink:
		target, err := i.content(tree.TargetMax, "symlink target")
		if err != nil {
			return err
		}
		if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
			return i.faultAt(i.partOffset(0), "symlink target is empty or has a NUL", ErrCorrupt)
		}
		n.Target, n.Size = l.arena.String(target), i.size
	case tree.Regular:
		n.Size = i.size
		if i.layout != layoutChunk {
			content, err := i.content(tree.InlineMax, "content")
			if err != nil {
				return err
			}
			n.Inline = content
		}
	}
	return l.fillXattrs(n, i)
}

// impliedSize returns the SIZE that a node without content must have had for its
// inode to be extended; the image doesn't store it.
func (l *loader) impliedSize(i *record) uint64 {
	const fits = 1<<16 - 1
	if !i.extended || !l.rewritten() || i.mtime != l.m.buildTime() || i.nlink > fits || i.uid > fits || i.gid > fits {
		return 0
	}
	return 1 << 32
}

// fillXattrs sets a node's xattrs and what those of overlayfs say.
func (l *loader) fillXattrs(n *tree.Node, i *record) error {
	list, err := l.xattrs.read(i)
	if err != nil || len(list) == 0 {
		return err
	}
	external := i.layout == layoutChunk && (i.size > 0 || !l.rewritten())
	var own []tree.Xattr
	for _, x := range list {
		keep, err := l.interpret(n, &x, external)
		if err != nil {
			return i.faultAt(i.xattrs, err.Error(), ErrCorrupt)
		}
		if keep && own == nil {
			own = l.arena.Xattrs(len(list))
		}
		if keep {
			own = append(own, x)
		}
	}
	if len(own) > 0 {
		n.SetXattrs(own)
	}
	if l.rewritten() {
		restoreWhiteout(n)
	}
	return nil
}

// interpret acts on an xattr that says where external content is, gives others the
// name that the tree had for them, and reports whether to keep it.
func (l *loader) interpret(n *tree.Node, x *tree.Xattr, external bool) (keep bool, err error) {
	switch {
	case !strings.HasPrefix(x.Name, overlayPrefix):
		keep = true
	case strings.HasPrefix(x.Name, overlayEscapedPrefix):
		keep = true
		x.Name = "trusted." + x.Name[len(overlayPrefix):]
	case !external:
	case x.Name == nameMetacopy:
		n.Object, err = parseMetacopy(x.Value)
	case x.Name == nameRedirect:
		payload := bytes.TrimPrefix(x.Value, []byte{'/'})
		if len(payload) > tree.PayloadMax || bytes.IndexByte(payload, 0) >= 0 {
			return false, fmt.Errorf("%s of %d bytes", x.Name, len(x.Value))
		}
		n.Payload = l.arena.String(payload)
	}
	if keep && len(x.Name) > tree.XattrNameMax {
		return false, fmt.Errorf("extended attribute: a name of %d bytes", len(x.Name))
	}
	return keep, err
}

// restoreWhiteout makes a whiteout again of the file that stands for one.
func restoreWhiteout(n *tree.Node) {
	if n.Kind != tree.Regular || n.Size > 0 {
		return
	}
	_, inner := n.Xattr(overlayPrefix + "whiteout")
	_, user := n.Xattr(nameUserWhiteout)
	if inner && user {
		n.Kind, n.Rdev = tree.CharDevice, 0
		n.RemoveXattr(overlayPrefix + "whiteout")
		n.RemoveXattr(nameUserWhiteout)
	}
}

// dropMarkers takes away from directories with whiteouts what the writer puts
// there again.
func (l *loader) dropMarkers() {
	for i, d := range l.dirs {
		if !slices.ContainsFunc(d.node.Entries(), isOwnWhiteout) && !(i == 0 && l.only != nil && isMarked(d.node)) {
			continue
		}
		for _, name := range markers {
			if v, ok := d.node.Xattr(name); ok && len(v) == 0 {
				d.node.RemoveXattr(name)
			}
		}
	}
}

// markers are the xattrs of a directory with whiteouts, by the names in the tree.
var markers = [...]string{overlayPrefix + "whiteouts", nameUserWhiteouts}

func isOwnWhiteout(e tree.Entry) bool { return !e.Link && e.Node.IsWhiteout() }

// isMarked reports whether a directory has both markers: then it has whiteouts,
// though they may be among what wasn't wanted.
func isMarked(dir *tree.Node) bool {
	for _, name := range markers {
		if v, ok := dir.Xattr(name); !ok || len(v) > 0 {
			return false
		}
	}
	return true
}
