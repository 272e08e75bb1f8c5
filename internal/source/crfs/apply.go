package crfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// Directories without an entry are made for as little as two bytes of a name. This
// many are granted at once, and one more for each so many bytes of text.
const (
	implicitBase  = 1024
	implicitBytes = 32
)

// types are the kinds of files, with the type bits that a mode may have.
var types = map[string]struct {
	kind tree.Kind
	bits int64
}{
	"reg": {tree.Regular, 0o100000}, "dir": {tree.Directory, 0o040000}, "char": {tree.CharDevice, 0o020000},
	"block": {tree.BlockDevice, 0o060000}, "fifo": {tree.FIFO, 0o010000}, "symlink": {tree.Symlink, 0o120000},
	"hardlink": {0, 0o100000},
}

// apply puts the file of an entry into the tree, or changes it.
func (p *parser) apply(e *entry) error {
	p.key = "type"
	kind, ok := types[e.kind]
	if !ok {
		return fmt.Errorf("want reg, dir, char, block, fifo, symlink, hardlink or chunk, found %.40q", e.kind)
	}
	p.key = "mode"
	if bits := e.mode &^ 0o7777; bits != 0 && bits != kind.bits {
		return fmt.Errorf("its type bits are %#o, but type %s has %#o", bits, e.kind, kind.bits)
	}
	p.key = "name"
	path, err := split(e.name)
	if err != nil {
		return err
	}
	if e.kind == "hardlink" {
		return p.link(e, path)
	}
	n, err := p.file(path, kind.kind)
	if err != nil {
		return err
	}
	return p.update(n, e)
}

// link adds a further name of a file. The entry's other keys are ignored.
func (p *parser) link(e *entry, path []string) error {
	if len(path) == 0 {
		return errors.New("the root can't be a hard link")
	}
	dir, err := p.parent(path)
	if err != nil {
		return err
	}
	p.key = "linkName"
	target, err := split(e.link)
	if err != nil {
		return err
	}
	n := p.root
	for _, part := range target {
		if n = n.Lookup(part); n == nil {
			return fmt.Errorf("no file %.300q came before", e.link)
		}
	}
	if n.Kind == tree.Directory {
		return fmt.Errorf("want a file other than a directory, found %.300q", e.link)
	}
	p.key = "name"
	name := path[len(path)-1]
	if err := dir.Link(p.arena.String([]byte(name)), n); err != nil {
		return err
	}
	p.links[place{dir, name}] = true
	n.Nlink++
	return nil
}

// file returns the file at a path; if there is none, it makes one.
func (p *parser) file(path []string, kind tree.Kind) (*tree.Node, error) {
	if len(path) == 0 {
		if kind != tree.Directory {
			return nil, errors.New("the root must be a directory")
		}
		return p.root, nil
	}
	dir, err := p.parent(path)
	if err != nil {
		return nil, err
	}
	name := path[len(path)-1]
	switch n := dir.Lookup(name); {
	case n == nil:
		n = p.arena.Node()
		n.Kind, n.Nlink = kind, 1
		return n, dir.Add(p.arena.String([]byte(name)), n)
	case n.Kind != kind || p.links[place{dir, name}]:
		return nil, fmt.Errorf("%.300q is there already, as another type of file", strings.Join(path, "/"))
	default:
		return n, nil
	}
}

// parent returns the directory that a path is in, and makes missing directories.
func (p *parser) parent(path []string) (*tree.Node, error) {
	dir := p.root
	for i, part := range path[:len(path)-1] {
		child := dir.Lookup(part)
		if child == nil {
			if p.implicit++; p.implicit > implicitBase+p.d.InputOffset()/implicitBytes {
				return nil, errors.New("too many directories have no entries of their own")
			}
			child = p.directory()
			if err := dir.Add(p.arena.String([]byte(part)), child); err != nil {
				return nil, err
			}
		}
		if child.Kind != tree.Directory {
			return nil, fmt.Errorf("want a directory at %.300q, found another type of file", strings.Join(path[:i+1], "/"))
		}
		dir = child
	}
	return dir, nil
}

// directory returns a directory that no entry has described yet.
func (b *Builder) directory() *tree.Node {
	n := b.arena.Node()
	n.Kind, n.Perm, n.Nlink = tree.Directory, 0o755, 1
	return n
}

// update changes the attributes that the entry has keys for, and always the permissions.
func (p *parser) update(n *tree.Node, e *entry) error {
	n.Perm = uint16(e.mode & 0o7777)
	if e.has["uid"] {
		n.UID = uint32(e.uid)
	}
	if e.has["gid"] {
		n.GID = uint32(e.gid)
	}
	if e.has["modtime"] {
		n.Mtime = tree.Time{Sec: e.mtime}
	}
	if len(e.xattrs) > 0 {
		p.setXattrs(n, e.xattrs)
	}
	switch n.Kind {
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev = uint32(e.minor)&0xff | uint32(e.major)<<8 | uint32(e.minor)&^0xff<<12
	case tree.Symlink:
		return p.symlink(n, e)
	case tree.Regular:
		return p.regular(n, e)
	}
	return nil
}

// setXattrs gives a file extended attributes. If the file already has some, further ones
// wait until the end: a file that recurs in many entries then takes time linear in their
// size, not quadratic.
func (p *parser) setXattrs(n *tree.Node, more []tree.Xattr) {
	if waiting, ok := p.waiting[n]; ok {
		p.waiting[n] = append(waiting, more...)
		return
	}
	if old := n.Xattrs(); len(old) > 0 {
		p.waiting[n] = append(slices.Clone(old), more...)
		return
	}
	n.SetXattrs(append(p.arena.Xattrs(len(more)), more...))
}

// settle sets the waiting attributes. If several have the same name, the last one counts.
func (b *Builder) settle() {
	for n, list := range b.waiting {
		slices.SortStableFunc(list, func(x, y tree.Xattr) int { return strings.Compare(x.Name, y.Name) })
		kept := list[:0]
		for i, x := range list {
			if i+1 == len(list) || list[i+1].Name != x.Name {
				kept = append(kept, x)
			}
		}
		n.SetXattrs(kept)
	}
	clear(b.waiting)
}

func (p *parser) symlink(n *tree.Node, e *entry) error {
	p.key = "linkName"
	if len(e.link) < 1 || len(e.link) > tree.TargetMax || strings.IndexByte(e.link, 0) >= 0 {
		return fmt.Errorf("want a target of 1 to %d bytes, without NUL, found %d bytes", tree.TargetMax, len(e.link))
	}
	n.Target, n.Size = p.arena.String([]byte(e.link)), uint64(len(e.link))
	return nil
}

func (p *parser) regular(n *tree.Node, e *entry) error {
	if e.has["size"] {
		n.Size = uint64(e.size)
	}
	if e.payload != "" {
		n.Payload = p.arena.String([]byte(e.payload))
	}
	if e.has["x-content"] {
		p.key = "x-content"
		if e.has["size"] && e.size != int64(len(e.content)) {
			return fmt.Errorf("it has %d bytes, and size says %d", len(e.content), e.size)
		}
		n.Inline, n.Size = e.content, uint64(len(e.content))
	}
	if n.Inline != nil && n.Size != uint64(len(n.Inline)) {
		p.key = "size"
		return fmt.Errorf("it is %d, and the content that came before has %d bytes", n.Size, len(n.Inline))
	}
	if n.Size == 0 || len(n.Inline) > 0 {
		n.Payload = "" // it isn't stored in the image
	}
	return nil
}
