package tarball

import (
	"slices"

	"github.com/composefs-go/composefs/erofs/tree"
)

// The two rules for whiteouts give one tree unless a whiteout names something of its
// own layer. From there on the builder applies every entry to two trees, one by each
// rule, and compares them in the end: of the first nothing may be left by then.

// A WhiteoutOrder is a remark: the tree would be another one if the other rule for
// whiteouts were followed. Path is the first name that shows it.
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

// fork makes the second view if there is none so far and a whiteout is about to show
// a difference.
func (b *Builder) fork(path []string) {
	if b.opts.Remark != nil && b.other == nil && b.otherErr == nil && b.view.affects(path) {
		b.other = b.view.clone()
	}
}

// also does to the other view what was done to the first. If it can't be, that is a
// difference too.
func (b *Builder) also(do func(v *view) error) {
	if b.other == nil {
		return
	}
	if err := do(b.other); err != nil {
		b.other, b.otherErr = nil, err
	}
}

// clone is a view of the same files by the other rule. Directories are its own.
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

// remarkOrder says so if the other rule would have given another tree. What is in the
// directories empty of the top doesn't count.
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

// difference returns the first name that two directories don't share. Files are those
// that entries made, so that another one is another node.
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
