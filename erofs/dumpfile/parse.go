package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/composefs-go/composefs/erofs/tree"
)

// xattrTextMax is the longest text in bytes of all xattrs of a line.
const xattrTextMax = 65535

// A parser makes a tree line by line. Its buffers are reused for each line.
type parser struct {
	dialect     Dialect
	xattrBudget int
	arena       tree.Arena
	dirs        dirCache
	line        int
	links       []pendingLink

	path, payload, content, key, value []byte // for unescaping
	xattrs                             []tree.Xattr
}

// Parse reads a dump to its end and returns the tree's root. Errors about the
// text are of type *Error and wrap ErrSyntax. The tree passes tree.Check.
func (d Dialect) Parse(r io.Reader) (*tree.Node, error) {
	p := &parser{dialect: d, xattrBudget: xattrBudget}
	parseLine := p.parseLine
	if d == Rust {
		parseLine, p.xattrBudget = p.parseRustLine, math.MaxInt
	}
	lines := newLineReader(r)
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		p.line++
		if errors.Is(err, errLongLine) {
			return nil, p.fault(Path, err)
		}
		if err != nil {
			return nil, fmt.Errorf("read dump file, line %d: %w", p.line, err)
		}
		if err := parseLine(line); err != nil {
			return nil, err
		}
	}
	if d == Strict && lines.open {
		return nil, p.fault(Xattrs, errors.New("the last line has no newline"))
	}
	if p.dirs.root == nil {
		return nil, fmt.Errorf("%w: it is empty; the first line must describe /", ErrSyntax)
	}
	if d == Rust {
		tree.Relink(p.dirs.root)
	}
	return p.dirs.root, p.resolveLinks()
}

func (p *parser) fault(f Field, err error) error { return &Error{Line: p.line, Field: f, Err: err} }

// fields holds a line cut at its spaces. Fields that are missing are empty.
type fields [fixedFields + 1][]byte

func split(line []byte) (f fields) {
	for i := range fixedFields {
		f[i], line, _ = bytes.Cut(line, []byte{' '})
	}
	f[Xattrs] = line
	return f
}

func (p *parser) parseLine(line []byte) error {
	if bytes.IndexByte(line, 0) >= 0 {
		return p.fault(Path, errors.New("a NUL byte in the line"))
	}
	f := split(line)
	dir, name, err := p.place(f[Path])
	if err != nil {
		return p.fault(Path, err)
	}
	text, isLink := bytes.CutPrefix(f[Mode], []byte{'@'})
	kind, perm, err := parseMode(text)
	if err != nil {
		return p.fault(Mode, err)
	}
	if dir == nil && (kind != tree.Directory || isLink) {
		return p.fault(Mode, errors.New("the root must be a directory"))
	}
	if isLink {
		return p.link(dir, name, kind, f[Payload])
	}
	n := p.arena.Node()
	n.Kind, n.Perm = kind, perm
	if err := p.node(n, &f); err != nil {
		return err
	}
	return p.add(dir, name, n)
}

// add puts a file into the tree, as the root if there is no directory for it.
func (p *parser) add(dir *tree.Node, name string, n *tree.Node) error {
	if dir == nil {
		p.dirs.root = n
		return nil
	}
	if err := dir.Add(name, n); err != nil {
		return p.fault(Path, err)
	}
	return nil
}

// place finds the directory and the name for a path. If the directory is nil, the path is
// the root.
func (p *parser) place(field []byte) (dir *tree.Node, name string, err error) {
	path, err := unescape(p.path[:0], field)
	if err != nil {
		return nil, "", err
	}
	return p.placePath(cutNUL(path))
}

// placePath is place for a path without escapes.
func (p *parser) placePath(path []byte) (dir *tree.Node, name string, err error) {
	switch isRoot := string(path) == "/"; {
	case len(path) == 0:
		return nil, "", errors.New("the path is empty")
	case isRoot && p.dirs.root != nil:
		return nil, "", errors.New("a second line for /")
	case isRoot:
		return nil, "", nil
	case p.dirs.root == nil:
		return nil, "", fmt.Errorf("the first line must describe /, found %.40q", path)
	}
	p.path = canonical(p.path[:0], path)
	parent, last := p.path[:0], p.path
	if i := bytes.LastIndexByte(p.path, '/'); i >= 0 {
		parent, last = p.path[:i], p.path[i+1:]
	}
	if dir, err = p.dirs.find(parent); err != nil {
		return nil, "", err
	}
	return dir, p.arena.String(last), nil
}

// canonical appends path without leading slashes, and with one slash between components. dst
// may share memory with the start of path.
func canonical(dst, path []byte) []byte {
	for i, c := range path {
		if c != '/' || i+1 < len(path) && path[i+1] != '/' && len(dst) > 0 || i+1 == len(path) {
			dst = append(dst, c)
		}
	}
	return dst
}

// kinds maps the file type of a mode, its bits 12 to 15, to a kind.
var kinds = [16]tree.Kind{
	0o01: tree.FIFO, 0o02: tree.CharDevice, 0o04: tree.Directory, 0o06: tree.BlockDevice,
	0o10: tree.Regular, 0o12: tree.Symlink, 0o14: tree.Socket,
}

func parseMode(text []byte) (tree.Kind, uint16, error) {
	mode, err := number(text, 8)
	if err != nil {
		return 0, 0, err
	}
	kind := kinds[mode>>12&0o17]
	if kind == 0 {
		return 0, 0, fmt.Errorf("want a mode with a file type, as in 100644, found %.40q", text)
	}
	return kind, uint16(mode & 0o7777), nil
}

// node sets the fields of n that don't come from PATH and MODE.
func (p *parser) node(n *tree.Node, f *fields) error {
	if err := p.numbers(n, f); err != nil {
		return err
	}
	payload, hasPayload, err := p.payloadField(f[Payload])
	if err != nil {
		return p.fault(Payload, err)
	}
	content, err := p.contentField(n, f[Content])
	if err != nil {
		return p.fault(Content, err)
	}
	switch {
	case n.Kind == tree.Symlink:
		if !hasPayload || len(payload) == 0 {
			return p.fault(Payload, errors.New("a symlink needs a target"))
		}
		if p.dialect == Strict && n.Size != uint64(len(payload)) {
			return p.fault(Size, fmt.Errorf("want the length of the symlink's target, %d, found %d", len(payload), n.Size))
		}
		if p.dialect == Strict && len(content) > 0 {
			return p.fault(Content, errors.New("a symlink has no content"))
		}
		n.Target, n.Size = p.arena.String(payload), uint64(len(payload))
	case n.Kind == tree.Regular && len(content) > 0:
		n.Inline = bytes.Clone(content)
	case n.Kind == tree.Regular && n.Size > 0:
		n.Payload = p.arena.String(payload)
		if n.Object, err = digestField(f[Digest]); err != nil {
			return p.fault(Digest, err)
		}
	}
	return p.xattrFields(n, f[Xattrs])
}

// numbers sets the fields from SIZE to MTIME. As in the C program, values are truncated to
// the width of their variable.
func (p *parser) numbers(n *tree.Node, f *fields) error {
	var v [Mtime]uint64
	for _, field := range [...]Field{Size, Nlink, UID, GID, Rdev} {
		var err error
		if v[field], err = number(f[field], 10); err != nil {
			return p.fault(field, err)
		}
	}
	n.Size, n.Nlink, n.UID, n.GID = v[Size], uint32(v[Nlink]), uint32(v[UID]), uint32(v[GID])
	if n.Kind == tree.CharDevice || n.Kind == tree.BlockDevice {
		n.Rdev = uint32(v[Rdev])
	} else if p.dialect == Strict && v[Rdev] != 0 {
		return p.fault(Rdev, fmt.Errorf("want 0 for a file that is no device, found %d", v[Rdev]))
	}
	before, after, _ := bytes.Cut(f[Mtime], []byte{'.'})
	sec, err := number(before, 10)
	if err != nil {
		return p.fault(Mtime, err)
	}
	nsec, err := number(after, 10)
	if err != nil {
		return p.fault(Mtime, err)
	}
	n.Mtime = tree.Time{Sec: int64(sec), Nsec: uint32(nsec)}
	return nil
}
