package kernelview

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
)

// A View says how an image is mounted.
type View struct {
	Format erofs.Format
	ACL    bool // it is mounted with ACLs; otherwise the kernel hides them
}

// typeBits maps a kind to the file type of a mode.
var typeBits = map[tree.Kind]uint32{
	tree.Regular: 0o100000, tree.Directory: 0o040000, tree.CharDevice: 0o020000, tree.BlockDevice: 0o060000,
	tree.FIFO: 0o010000, tree.Socket: 0o140000, tree.Symlink: 0o120000,
}

// Stored returns what the kernel should show of the image of a tree.
func (v View) Stored(root *tree.Node) []string {
	s := storedTree{View: v, root: root, first: make(map[*tree.Node]string), isStub: make(map[*tree.Node]bool)}
	s.file("/", root)
	s.directory("/", root)
	return s.lines
}

type storedTree struct {
	View
	root   *tree.Node
	first  map[*tree.Node]string // the first path of a file
	isStub map[*tree.Node]bool
	lines  []string
}

// rewritten reports whether the format stores whiteouts and the root in another way.
func (v View) rewritten() bool { return v.Format <= erofs.V1 }

// directory adds the lines of everything below a directory, as far as access is
// allowed.
func (s *storedTree) directory(path string, dir *tree.Node) {
	if access(dir)&mayRead == 0 {
		s.lines = append(s.lines, hidden(path))
		return
	}
	entries := slices.Clone(dir.Entries())
	if dir == s.root && s.rewritten() {
		entries = append(entries, s.stubs()...)
		slices.SortFunc(entries, func(a, b tree.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, e := range entries {
		child := join(path, e.Name)
		if access(dir)&maySearch == 0 {
			s.lines = append(s.lines, hidden(child))
			continue
		}
		s.file(child, e.Node)
		if e.Node.Kind == tree.Directory {
			s.directory(child, e.Node)
		}
	}
}

// nobody is the user or group number that Linux reserves as invalid. It shows files of
// such an owner as the overflow owner's, and root has no special rights to them.
const nobody, overflow = math.MaxUint32, 65534

const (
	mayRead   = 4
	maySearch = 1
)

// access returns what root may do with a file.
func access(n *tree.Node) uint16 {
	switch {
	case n.UID != nobody && n.GID != nobody:
		return mayRead | maySearch
	case n.UID == 0:
		return n.Perm >> 6
	case n.GID == 0:
		return n.Perm >> 3
	}
	return n.Perm
}

// isRewritten reports whether a file is a whiteout that became a regular file.
func (s *storedTree) isRewritten(n *tree.Node) bool {
	return s.rewritten() && n.IsWhiteout() && !s.isStub[n]
}

// stubs makes the whiteouts that hide the directories of an object store.
func (s *storedTree) stubs() (list []tree.Entry) {
	root := s.root
	for i := range 256 {
		name := fmt.Sprintf("%02x", i)
		if root.Lookup(name) != nil {
			continue
		}
		stub := &tree.Node{Kind: tree.CharDevice, Perm: 0o644, Nlink: 1, UID: root.UID, GID: root.GID, Mtime: root.Mtime}
		if label, ok := root.Xattr("security.selinux"); ok {
			stub.SetXattr("security.selinux", label)
		}
		s.isStub[stub] = true
		list = append(list, tree.Entry{Name: name, Node: stub})
	}
	return list
}

// file adds the line of one name.
func (s *storedTree) file(path string, n *tree.Node) {
	if first, again := s.first[n]; again {
		s.lines = append(s.lines, fmt.Sprintf("%q: = %q", path, first))
		return
	}
	s.first[n] = path
	l := line{
		mode: typeBits[n.Kind] | uint32(n.Perm), links: uint64(n.Nlink), uid: shownID(n.UID), gid: shownID(n.GID), sec: n.Mtime.Sec, nsec: int64(n.Mtime.Nsec),
	}
	switch n.Kind {
	case tree.Directory:
		l.links = subdirectories(n)
	case tree.CharDevice, tree.BlockDevice:
		l.device = uint64(n.Rdev)
	case tree.Symlink:
		l.size, l.content = int64(len(n.Target)), n.Target
	case tree.Regular:
		l.size, l.content = int64(n.Size), string(n.Inline)
	}
	if s.isRewritten(n) {
		l.mode = typeBits[tree.Regular] | uint32(n.Perm)
	}
	if !s.rewritten() {
		l.nsec = 0
	}
	l.external = s.isExternal(n)
	l.unreadable = n.Kind == tree.Regular && l.size > 0 && access(n)&mayRead == 0
	for name, value := range s.xattrs(n) {
		switch s.shows(name, value, l.mode, access(n)) {
		case nameAndValue:
			l.xattrs = append(l.xattrs, fmt.Sprintf("%s=%q", name, value))
		case nameOnly:
			l.xattrs = append(l.xattrs, name)
		}
	}
	s.lines = append(s.lines, l.text(path))
}

func subdirectories(n *tree.Node) uint64 {
	links := uint64(2)
	for _, e := range n.Entries() {
		if e.Node.Kind == tree.Directory {
			links++
		}
	}
	return links
}

// shownID returns the number that Linux shows for an owner.
func shownID(id uint32) uint32 {
	if id == nobody {
		return overflow
	}
	return id
}

// isExternal reports whether a file's content is an object, a hole included.
func (v View) isExternal(n *tree.Node) bool {
	if n.Kind != tree.Regular || len(n.Inline) > 0 {
		return false
	}
	return n.Size > 0 || !v.rewritten() && (n.Payload != "" || !n.Object.IsZero())
}

// xattrs returns the extended attributes that the image has for a file.
func (s *storedTree) xattrs(n *tree.Node) map[string]string {
	list := make(map[string]string)
	for _, x := range n.Xattrs() {
		name := x.Name
		if rest, ok := strings.CutPrefix(name, "trusted.overlay."); ok {
			name = "trusted.overlay.overlay." + rest
		}
		list[name] = string(x.Value)
	}
	if s.isExternal(n) {
		s.addObject(n, list)
	}
	if !s.rewritten() {
		return list
	}
	if s.isRewritten(n) {
		list["trusted.overlay.overlay.whiteout"], list["user.overlay.whiteout"] = "", ""
	}
	if slices.ContainsFunc(n.Entries(), func(e tree.Entry) bool { return e.Node.IsWhiteout() && !e.Link }) {
		list["trusted.overlay.overlay.whiteouts"], list["user.overlay.whiteouts"] = "", ""
		if s.Format == erofs.V1 {
			list["trusted.overlay.overlay.opaque"], list["user.overlay.opaque"] = "x", "x"
		}
	}
	if n == s.root {
		list["trusted.overlay.opaque"] = "y"
	}
	return list
}

// addObject adds the attributes with which overlayfs finds the content of a file.
func (s *storedTree) addObject(n *tree.Node, list map[string]string) {
	metacopy := ""
	if d := n.Object; !d.IsZero() {
		metacopy = string(append([]byte{0, byte(4 + d.Algorithm().Size()), 0, byte(d.Algorithm())}, d.Bytes()...))
	}
	payload := n.Payload
	if object := n.ContentObject(); !s.rewritten() && !object.IsZero() {
		payload = object.ObjectPath()
	}
	list["trusted.overlay.metacopy"] = metacopy
	if payload != "" {
		list["trusted.overlay.redirect"] = "/" + payload
	}
}
