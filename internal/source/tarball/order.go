package tarball

import (
	"slices"

	"github.com/composefs-go/composefs/erofs/tree"
)

// The two rules for whiteouts give the same tree unless a whiteout names a file of its own
// layer. From there on the builder applies every entry to two trees, one for each rule, and
// compares them in the end: later layers may have removed the difference.

// A WhiteoutOrder is a remark: the other rule for whiteouts would give a different tree.
// Path is the first difference.
type WhiteoutOrder struct {
	Path    string
	InOrder bool // the rule that was followed
	Err     error
}

func (e *WhiteoutOrder) Error() string {
	switch {
	case e.InOrder:
		return quoted(e.Path) + " isn't as the OCI image format has it: there whiteouts hide files of lower layers only"
	case e.Err != nil:
		return "composefs-rs, which applies whiteouts in the order of the entries, doesn't read this image: " + e.Err.Error()
	}
	return "composefs-rs, which applies whiteouts in the order of the entries, has another " + quoted(e.Path) + ": its digest of this image differs"
}

// fork makes the second view if there is none yet and a whiteout is about to make a
// difference.
func (b *Builder) fork(path []string) {
	if b.opts.Remark != nil && b.other == nil && b.otherErr == nil && b.view.affects(path) {
		b.other = b.view.clone()
	}
}

// also repeats in the other view a change of the first. If that fails, it is a difference
// too.
func (b *Builder) also(do func(v *view) error) {
	if b.other == nil {
		return
	}
	if err := do(b.other); err != nil {
		b.other, b.otherErr = nil, err
	}
}

// clone returns a view of the same files under the other rule. It has its own directories.
func (v *view) clone() *view {
	c := *v
	c.inOrder = !v.inOrder
	c.own, c.bare, c.steps = make(map[place]struct{}, len(v.own)), make(map[*tree.Node]struct{}), nil
	c.root = c.copyDirectory(v, v.root)
	return &c
}

func (v *view) copyDirectory(from *view, dir *tree.Node) *tree.Node {
	n := v.arena.Node()
	*n = *dir
	n.Clear()
	if _, bare := from.bare[dir]; bare {
		v.bare[n] = struct{}{}
	}
	for _, e := range dir.Entries() {
		node := e.Node
		if node.Kind == tree.Directory {
			node = v.copyDirectory(from, node)
		}
		if e.Link {
			_ = n.Link(e.Name, node) // neither can fail: both are in dir
		} else {
			_ = n.Add(e.Name, node)
		}
		if from.owns(dir, e.Name) {
			v.take(n, e.Name)
		}
	}
	return n
}

// remarkOrder makes a remark if the other rule gives a different tree, apart from the
// content of the directories in Options.Empty.
func (b *Builder) remarkOrder() {
	if b.other == nil && b.otherErr == nil {
		return
	}
	r := &WhiteoutOrder{InOrder: b.view.inOrder, Err: b.otherErr}
	if b.other != nil {
		b.other.finish(b.opts.SkipDevices)
		differs := false
		if r.Path, differs = difference("", b.view.root, b.other.root, b.opts.Empty); !differs {
			return
		}
	}
	b.opts.Remark(r)
}

// difference returns the first name in which two directories differ. Each file comes from
// one entry, so different files are different nodes.
func difference(path string, a, b *tree.Node, empty []string) (string, bool) {
	if a.Perm != b.Perm || a.UID != b.UID || a.GID != b.GID || a.Mtime != b.Mtime || !slices.EqualFunc(a.Xattrs(), b.Xattrs(), sameXattr) {
		return path + "/", true
	}
	x, y := a.Entries(), b.Entries()
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i < len(y) && y[i].Name < x[i].Name {
			return path + "/" + y[i].Name, true
		}
		child := path + "/" + x[i].Name
		if i >= len(y) || x[i].Name != y[i].Name {
			return child, true
		}
		m, n := x[i].Node, y[i].Node
		switch {
		case m == n:
		case m.Kind != tree.Directory || n.Kind != tree.Directory:
			return child, true
		case path == "" && slices.Contains(empty, x[i].Name):
		default:
			if p, differs := difference(child, m, n, nil); differs {
				return p, true
			}
		}
	}
	return "", false
}

func sameXattr(a, b tree.Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) }
