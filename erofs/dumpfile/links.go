package dumpfile

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A pendingLink is a hard link whose target may come in a later line. Until all lines have
// been read, its name stands for a node of its own, the stand-in.
type pendingLink struct {
	dir     *tree.Node
	name    string
	target  string
	line    int
	standIn *tree.Node
}

// link notes a hard link. Only path, mode and target of its line count.
func (p *parser) link(dir *tree.Node, name string, kind tree.Kind, payload []byte) error {
	if kind == tree.Directory {
		return p.fault(Mode, errors.New("a directory can't be a hard link"))
	}
	target, set, err := p.linkTarget(payload)
	if err != nil {
		return p.fault(Payload, err)
	}
	if !set {
		return p.fault(Payload, errors.New("a hard link needs the path of its target"))
	}
	standIn := p.arena.Node()
	if err := dir.Link(name, standIn); err != nil {
		return p.fault(Path, err)
	}
	p.links = append(p.links, pendingLink{dir, name, p.arena.String(target), p.line, standIn})
	return nil
}

func (p *parser) linkTarget(field []byte) ([]byte, bool, error) {
	if unset(field) {
		return nil, false, nil
	}
	b, err := unescape(p.payload[:0], field)
	if err != nil {
		return nil, false, err
	}
	p.payload = keep(p.payload, b, field)
	return cutNUL(b), true, nil
}

// resolveLinks gives every hard link its node.
func (p *parser) resolveLinks() error {
	if len(p.links) == 0 {
		return nil
	}
	standsFor := make(map[*tree.Node]*tree.Node, len(p.links)) // a stand-in → its direct target
	for i := range p.links {
		l := &p.links[i]
		n, err := p.lookup(l.target)
		if err == nil && n == l.standIn {
			err = errors.New("the hard link is its own target")
		}
		if err != nil {
			p.line = l.line
			return p.fault(Payload, err)
		}
		standsFor[l.standIn] = n
	}
	for i := range p.links {
		l := &p.links[i]
		n, err := follow(standsFor, l.standIn)
		if err != nil {
			p.line = l.line
			return p.fault(Payload, err)
		}
		l.dir.Replace(l.name, n, true)
	}
	return nil
}

// lookup finds the target of a hard link. Empty components of its path are ignored.
func (p *parser) lookup(path string) (*tree.Node, error) {
	p.path = canonical(p.path[:0], bytes.TrimRight([]byte(path), "/"))
	parent, last := p.path[:0], p.path
	if i := bytes.LastIndexByte(p.path, '/'); i >= 0 {
		parent, last = p.path[:i], p.path[i+1:]
	}
	dir, err := p.dirs.find(parent)
	if err != nil {
		return nil, fmt.Errorf("no such target: %w", err)
	}
	n := dir.Lookup(string(last))
	if n == nil && len(last) > 0 {
		return nil, fmt.Errorf("the dump has no file %.200q", path)
	}
	if n == nil || n.Kind == tree.Directory {
		return nil, fmt.Errorf("want a target other than a directory, found %.200q", path)
	}
	return n, nil
}

// follow returns the file at the end of a chain of hard links. It shortens the chain, so
// that long chains are walked only once.
func follow(standsFor map[*tree.Node]*tree.Node, standIn *tree.Node) (*tree.Node, error) {
	end := standIn
	for steps := 0; ; steps++ {
		next, isLink := standsFor[end]
		if !isLink {
			break
		}
		if end = next; steps > len(standsFor) {
			return nil, errors.New("hard links that are each other's targets")
		}
	}
	for n := standIn; n != end; {
		next := standsFor[n]
		standsFor[n] = end
		n = next
	}
	return end, nil
}
