package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/composefs-go/composefs/erofs/tree"
)

// parseRustLine is parseLine for Rust.
func (p *parser) parseRustLine(line []byte) error {
	switch {
	case len(bytes.TrimSpace(line)) == 0:
		return nil
	case !utf8.Valid(line):
		return p.fault(Path, errors.New("the line is not UTF-8"))
	case bytes.Count(line, []byte{' '}) < fixedFields-1:
		return p.fault(Path, fmt.Errorf("want a line of at least %d fields", fixedFields))
	case line[len(line)-1] == ' ':
		return p.fault(Xattrs, errors.New("a space at the end of the line"))
	}
	f := split(line)
	dir, name, err := p.rustPlace(f[Path])
	if err != nil {
		return p.fault(Path, err)
	}
	text, isLink := bytes.CutPrefix(f[Mode], []byte{'@'})
	mode, err := decimal(text, 8, 16)
	if err != nil {
		return p.fault(Mode, err)
	}
	kind := kinds[mode>>12]
	if kind == 0 || dir == nil && (kind != tree.Directory || isLink) {
		return p.fault(Mode, fmt.Errorf("want a mode with a file type, and a directory for the root, found %.40q", text))
	}
	if isLink {
		return p.rustLink(dir, name, f[Payload])
	}
	n := p.arena.Node()
	n.Kind, n.Perm = kind, uint16(mode&0o7777)
	if err := p.rustNode(n, &f); err != nil {
		return err
	}
	return p.add(dir, name, n)
}

// rustPlace is place for Rust.
func (p *parser) rustPlace(field []byte) (dir *tree.Node, name string, err error) {
	path, err := unescape(p.path[:0], field)
	if err != nil {
		return nil, "", err
	}
	if err := checkCanonical(path); err != nil {
		return nil, "", err
	}
	return p.placePath(path)
}

// checkCanonical returns an error if a path isn't in canonical form.
func checkCanonical(path []byte) error {
	switch {
	case len(path) == 0 || path[0] != '/':
		return fmt.Errorf("want an absolute path, found %.200q", path)
	case len(path) > rustPathMax:
		return fmt.Errorf("want at most %d bytes, found %d", rustPathMax, len(path))
	case bytes.IndexByte(path, 0) >= 0:
		return fmt.Errorf("NUL in %.200q", path)
	case len(path) == 1:
		return nil
	}
	for name := range bytes.SplitSeq(path[1:], []byte{'/'}) {
		if len(name) == 0 || string(name) == "." || string(name) == ".." {
			return fmt.Errorf("want a path without empty names and dots, found %.200q", path)
		}
	}
	return nil
}

// rustLink is link for Rust, where targets come before their links.
func (p *parser) rustLink(dir *tree.Node, name string, field []byte) error {
	target, set, err := p.rustText(field)
	if err == nil && !set {
		err = errors.New("a hard link needs the path of its target")
	}
	if err == nil {
		err = checkCanonical(target)
	}
	if err != nil {
		return p.fault(Payload, err)
	}
	n, err := p.lookup(string(target))
	if err == nil && n.IsWhiteout() {
		err = errors.New("a hard link to a whiteout, which composefs-rs refuses")
	}
	if err != nil {
		return p.fault(Payload, err)
	}
	if err := dir.Link(name, n); err != nil {
		return p.fault(Path, err)
	}
	return nil
}

// rustText reads a path or target, which can't be empty.
func (p *parser) rustText(field []byte) (text []byte, set bool, err error) {
	if unset(field) {
		return nil, false, nil
	}
	if text, err = unescape(p.payload[:0], field); err != nil {
		return nil, false, err
	}
	p.payload = keep(p.payload, text, field)
	if len(text) == 0 || len(text) > rustPathMax || bytes.IndexByte(text, 0) >= 0 {
		return nil, false, fmt.Errorf("want 1 to %d bytes without NUL, found %.200q", rustPathMax, text)
	}
	return text, true, nil
}

// rustNode is node for Rust.
func (p *parser) rustNode(n *tree.Node, f *fields) error {
	if err := p.rustNumbers(n, f); err != nil {
		return err
	}
	payload, hasPayload, err := p.rustText(f[Payload])
	if err != nil {
		return p.fault(Payload, err)
	}
	switch {
	case n.Kind != tree.Regular && !unset(f[Content]):
		return p.fault(Content, errors.New("only regular files have content"))
	case n.Kind != tree.Regular && !unset(f[Digest]):
		return p.fault(Digest, errors.New("only regular files have a digest"))
	case n.Kind == tree.Symlink:
		if !hasPayload {
			return p.fault(Payload, errors.New("a symlink needs a target"))
		}
		n.Target, n.Size = p.arena.String(payload), uint64(len(payload))
	case n.Kind == tree.Regular:
		if err := p.rustContent(n, payload, f); err != nil {
			return err
		}
	default:
		n.Size = 0
	}
	if err := p.xattrFields(n, f[Xattrs]); err != nil {
		return err
	}
	if field, err := checkRust(n, n.Nlink); err != nil {
		return p.fault(field, err)
	}
	return nil
}

// rustContent sets the content of a regular file: an object if there is a payload, even an
// empty one; otherwise the content in the line; otherwise as many zeros as SIZE says.
func (p *parser) rustContent(n *tree.Node, payload []byte, f *fields) (err error) {
	if n.Object, err = digestField(f[Digest]); err != nil {
		return p.fault(Digest, err)
	}
	if len(payload) > 0 {
		object := n.Object
		if object.IsZero() {
			object = tree.PayloadObject(string(payload))
		}
		if !object.IsZero() {
			p.payload = object.AppendObjectPath(p.payload[:0])
			payload = p.payload
		}
		n.Payload = p.arena.String(payload)
		return nil
	}
	if unset(f[Content]) {
		return nil
	}
	content, err := unescape(p.content[:0], f[Content])
	if err != nil {
		return p.fault(Content, err)
	}
	p.content = keep(p.content, content, f[Content])
	n.Inline, n.Size = bytes.Clone(content), uint64(len(content))
	return nil
}

// rustNumbers is numbers for Rust. The link count is the one in the line until Parse counts
// the names.
func (p *parser) rustNumbers(n *tree.Node, f *fields) error {
	var v [Mtime]uint64
	for _, number := range [...]struct {
		field Field
		bits  int
	}{{Size, 64}, {Nlink, 32}, {UID, 32}, {GID, 32}, {Rdev, 32}} {
		var err error
		if v[number.field], err = decimal(f[number.field], 10, number.bits); err != nil {
			return p.fault(number.field, err)
		}
	}
	n.Size, n.Nlink, n.UID, n.GID, n.Rdev = v[Size], uint32(v[Nlink]), uint32(v[UID]), uint32(v[GID]), uint32(v[Rdev])
	if n.Rdev != 0 && n.Kind != tree.CharDevice && n.Kind != tree.BlockDevice {
		return p.fault(Rdev, fmt.Errorf("want 0 for a file that is no device, found %d", n.Rdev))
	}
	before, after, _ := bytes.Cut(f[Mtime], []byte{'.'})
	before, old := bytes.CutPrefix(before, []byte{'-'})
	sec, err := decimal(before, 10, 63)
	if err != nil {
		return p.fault(Mtime, err)
	}
	nsec, err := decimal(after, 10, 32)
	if err != nil {
		return p.fault(Mtime, err)
	}
	n.Mtime = tree.Time{Sec: int64(sec), Nsec: uint32(nsec)}
	if old {
		n.Mtime.Sec = -n.Mtime.Sec
	}
	return nil
}

// decimal parses a number of digits only, which must fit into so many bits.
func decimal(field []byte, base, bits int) (uint64, error) {
	v, err := strconv.ParseUint(string(field), base, bits)
	if err != nil {
		return 0, fmt.Errorf("want digits of base %d, for %d bits, found %.40q", base, bits, field)
	}
	return v, nil
}
