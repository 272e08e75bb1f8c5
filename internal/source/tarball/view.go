package tarball

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A view is the tree of the archives under one of the two rules for whiteouts. Archives are
// layers: files that the current archive has added are its own, all others are from lower
// layers.
type view struct {
	inOrder bool // whiteouts hide everything before them, not only files of lower layers
	follow  bool // follow symbolic links on the way to a file
	arena   *tree.Arena
	charge  func(entries int64) error

	root  *tree.Node
	gone  *tree.Node // stands for a name that a whiteout has removed
	first bool       // this is the lowest layer
	own   map[place]struct{}
	// bare are directories in which everything is of this layer, since a whiteout or an
	// opaque marker has removed the rest. Without them, repeated markers would take time
	// quadratic in the size of a directory.
	bare map[*tree.Node]struct{}

	steps []step // to the directory of the current path; the first is the root
}

// A place is a name in a directory.
type place struct {
	dir  *tree.Node
	name string
}

// A step is a directory on the way to a file.
type step struct {
	dir  *tree.Node
	name string
}

// begin starts a layer.
func (v *view) begin(first bool) {
	v.first = first
	v.own, v.bare = make(map[place]struct{}), make(map[*tree.Node]struct{})
}

// owns reports whether the current layer has added a name.
func (v *view) owns(dir *tree.Node, name string) bool {
	if v.first {
		return true
	}
	_, ok := v.own[place{dir, name}]
	return ok
}

func (v *view) take(dir *tree.Node, name string) {
	if !v.first {
		v.own[place{dir, name}] = struct{}{}
	}
}

// child is Lookup, but ignores names that a whiteout has removed.
func (v *view) child(dir *tree.Node, name string) *tree.Node {
	if n := dir.Lookup(name); n != v.gone {
		return n
	}
	return nil
}

// lookup returns the file at a path, nil if there is none. A symbolic link at the end of
// the path isn't followed.
func (v *view) lookup(path []string) (*tree.Node, error) {
	if len(path) == 0 {
		return v.root, nil
	}
	dir, err := v.directory(path[:len(path)-1], false)
	if dir == nil || err != nil {
		return nil, err
	}
	return v.child(dir, path[len(path)-1]), nil
}

// insert puts a file, or a further name of one, at a path.
func (v *view) insert(path []string, n *tree.Node, link bool) error {
	if len(path) == 0 {
		if n.Kind != tree.Directory {
			return errors.New("the root must be a directory")
		}
		overwrite(v.root, n)
		return nil
	}
	dir, err := v.directory(path[:len(path)-1], true)
	if err != nil {
		return err
	}
	if n.Kind == tree.Directory && len(v.steps) >= tree.DepthMax {
		return errTooDeep
	}
	return v.put(dir, path[len(path)-1], n, link)
}

// put lets a name in a directory stand for a file.
func (v *view) put(dir *tree.Node, name string, n *tree.Node, link bool) error {
	old := dir.Lookup(name)
	if old == nil {
		name = v.arena.String([]byte(name))
	}
	v.take(dir, name)
	switch {
	case old == nil && link:
		return dir.Link(name, n)
	case old == nil:
		return dir.Add(name, n)
	case old.Kind == tree.Directory && n.Kind == tree.Directory:
		overwrite(old, n)
	case old != n:
		dir.Replace(name, n, link)
	}
	return nil
}

// overwrite gives a directory the attributes of another one.
func overwrite(dir, by *tree.Node) {
	dir.Perm, dir.UID, dir.GID, dir.Mtime = by.Perm, by.UID, by.GID, by.Mtime
	dir.SetXattrs(by.Xattrs())
}

// newDirectory returns a directory that no entry has described yet.
func (v *view) newDirectory() *tree.Node {
	n := v.arena.Node()
	n.Kind, n.Perm, n.Nlink = tree.Directory, 0o755, 1
	return n
}

// whiteout removes a name from a directory. It isn't an error if there is no such name.
func (v *view) whiteout(path []string) error {
	last := len(path) - 1
	dir, err := v.directory(path[:last], false)
	if dir == nil || err != nil {
		return err
	}
	name := path[last]
	if name == opaqueName {
		if v.inOrder {
			dir.Clear()
		} else {
			v.strip(dir)
		}
		return nil
	}
	hidden := strings.TrimPrefix(name, whiteoutPrefix)
	if n := v.child(dir, hidden); n != nil && (v.inOrder || !v.keeps(dir, hidden, n)) {
		dir.Replace(hidden, v.gone, false)
	}
	return nil
}

// strip removes everything from a directory that isn't of the current layer.
func (v *view) strip(dir *tree.Node) {
	if _, bare := v.bare[dir]; bare || v.first {
		return
	}
	v.bare[dir] = struct{}{}
	entries := dir.Entries()
	dir.Clear()
	for _, e := range entries {
		if e.Node == v.gone || !v.keeps(dir, e.Name, e.Node) {
			continue
		}
		if e.Link {
			_ = dir.Link(e.Name, e.Node) // neither can fail: both were there
		} else {
			_ = dir.Add(e.Name, e.Node)
		}
	}
}

// keeps reports whether a hidden name stays, because the current layer has it too. A
// directory in which the layer has files stays with only these files.
func (v *view) keeps(dir *tree.Node, name string, n *tree.Node) bool {
	own := v.owns(dir, name)
	if n.Kind != tree.Directory {
		return own
	}
	v.strip(n)
	if own || n.Len() == 0 {
		return own
	}
	overwrite(n, v.newDirectory()) // its attributes were a lower layer's
	v.take(dir, name)
	return true
}

// affects reports whether the two rules differ for a whiteout, because it names a file of
// the current layer.
func (v *view) affects(path []string) bool {
	last := len(path) - 1
	dir, err := v.directory(path[:last], false)
	if dir == nil || err != nil {
		return false
	}
	if name := path[last]; name != opaqueName {
		hidden := strings.TrimPrefix(name, whiteoutPrefix)
		n := v.child(dir, hidden)
		return n != nil && v.hasOwn(dir, hidden, n)
	}
	return v.hasOwnIn(dir)
}

// hasOwn reports whether a name, or a file below it, is of the current layer.
func (v *view) hasOwn(dir *tree.Node, name string, n *tree.Node) bool {
	return v.owns(dir, name) || n.Kind == tree.Directory && v.hasOwnIn(n)
}

func (v *view) hasOwnIn(dir *tree.Node) bool {
	return slices.ContainsFunc(dir.Entries(), func(e tree.Entry) bool {
		return e.Node != v.gone && v.hasOwn(dir, e.Name, e.Node)
	})
}

// finish removes the names that whiteouts have hidden, and devices if they are left out. It
// does so at the end: removing them one by one would take time quadratic in the size of a
// directory.
func (v *view) finish(skipDevices bool) { v.prune(v.root, skipDevices) }

func (v *view) prune(dir *tree.Node, skipDevices bool) {
	drops := func(n *tree.Node) bool {
		return n == v.gone || skipDevices && (n.Kind == tree.CharDevice || n.Kind == tree.BlockDevice)
	}
	entries, drop := dir.Entries(), false
	for _, e := range entries {
		drop = drop || drops(e.Node)
		if e.Node.Kind == tree.Directory {
			v.prune(e.Node, skipDevices)
		}
	}
	if !drop {
		return
	}
	dir.Clear()
	for _, e := range entries {
		switch {
		case drops(e.Node):
		case e.Link:
			_ = dir.Link(e.Name, e.Node) // neither can fail: both were there
		default:
			_ = dir.Add(e.Name, e.Node)
		}
	}
}

// errNoDirectory says that a path leads through a file.
func (v *view) errNoDirectory(name string) error {
	return fmt.Errorf("want a directory at %.300q, found another kind of file", v.at(name))
}
