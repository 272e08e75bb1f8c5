package tarball

import (
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// Directories without an entry are made for as little as two bytes of a name. This
// many are granted at once, and for each entry; real archives need hardly any.
const (
	implicitBase     = 1024
	implicitPerEntry = 24
)

// split appends the components of a name to parts. Empty ones and "." don't count;
// none at all is the root.
func split(parts []string, name string) ([]string, error) {
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return nil, fmt.Errorf("the path %.300q has \"..\" in it, which could lead out of the root", name)
		}
		if err := tree.CheckName(part); err != nil {
			return nil, err
		}
		if parts = append(parts, part); len(parts) >= tree.DepthMax {
			return nil, fmt.Errorf("directories are nested more than %d deep", tree.DepthMax)
		}
	}
	return parts, nil
}

// lookup returns the file at a path, nil if there is none.
func (b *Builder) lookup(path []string) *tree.Node {
	n := b.root
	for _, part := range path {
		if n.Kind != tree.Directory {
			return nil
		}
		if n = n.Lookup(part); n == nil || n == b.gone {
			return nil
		}
	}
	return n
}

// insert puts a file, or a further name of one, at the path of the current entry.
func (b *Builder) insert(n *tree.Node, link bool) error {
	if len(b.parts) == 0 {
		if n.Kind != tree.Directory {
			return errors.New("the root must be a directory")
		}
		overwrite(b.root, n)
		return nil
	}
	dir, err := b.parent()
	if err != nil {
		return err
	}
	name := b.parts[len(b.parts)-1]
	old := dir.Lookup(name)
	switch {
	case old == nil && link:
		return dir.Link(b.arena.String([]byte(name)), n)
	case old == nil:
		return dir.Add(b.arena.String([]byte(name)), n)
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

// parent returns the directory of the current entry and makes what is missing on the
// way to it.
func (b *Builder) parent() (*tree.Node, error) {
	dir := b.root
	for i, part := range b.parts[:len(b.parts)-1] {
		child := dir.Lookup(part)
		if child == nil || child == b.gone {
			if b.implicit++; b.implicit > implicitBase+implicitPerEntry*b.charged {
				return nil, fmt.Errorf("%w: too many directories without entries of their own", ErrTooLarge)
			}
			made := b.directory()
			if child == nil {
				dir.Add(b.arena.String([]byte(part)), made)
			} else {
				dir.Replace(part, made, false)
			}
			child = made
		}
		if child.Kind != tree.Directory {
			return nil, fmt.Errorf("want a directory at %.300q, found another kind of file", strings.Join(b.parts[:i+1], "/"))
		}
		dir = child
	}
	return dir, nil
}

// directory returns one that no entry describes yet.
func (b *Builder) directory() *tree.Node {
	n := b.arena.Node()
	n.Kind, n.Perm, n.Nlink = tree.Directory, 0o755, 1
	return n
}
