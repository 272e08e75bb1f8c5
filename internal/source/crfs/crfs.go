package crfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ErrSyntax is the cause of every error in the text itself, as opposed to errors in reading
// it.
var ErrSyntax = errors.New("unusable CRFS text")

// An Error says which key of which entry is wrong. It wraps ErrSyntax.
type Error struct {
	Entry int    // from 0, as in the array; -1 outside the array
	Key   string // "" if it isn't about a key
	Err   error
}

func (e *Error) Error() string {
	switch {
	case e.Entry < 0 && e.Key == "":
		return e.Err.Error()
	case e.Entry < 0:
		return fmt.Sprintf("key %q: %v", e.Key, e.Err)
	case e.Key == "":
		return fmt.Sprintf("entry %d: %v", e.Entry, e.Err)
	}
	return fmt.Sprintf("entry %d, key %q: %v", e.Entry, e.Key, e.Err)
}

// Unwrap returns ErrSyntax and the detail.
func (e *Error) Unwrap() []error { return []error{ErrSyntax, e.Err} }

// A Builder makes a tree from one or several texts. After an error it can't be used.
type Builder struct {
	arena    tree.Arena
	root     *tree.Node
	links    map[place]bool // names that are hard links
	waiting  map[*tree.Node][]tree.Xattr
	implicit int64 // directories without an entry so far
}

// A place is a name in a directory.
type place struct {
	dir  *tree.Node
	name string
}

// NewBuilder returns a Builder of a tree that has only a root.
func NewBuilder() *Builder {
	b := &Builder{links: make(map[place]bool), waiting: make(map[*tree.Node][]tree.Xattr)}
	b.root = b.directory()
	return b
}

// Apply adds the entries of a text to the tree, or changes existing files.
func (b *Builder) Apply(r io.Reader) error {
	p := &parser{Builder: b, entry: -1}
	d := json.NewDecoder(&utf8Reader{r: r})
	d.UseNumber()
	p.tokens = tokens{d: d}
	if err := p.outermost(); err != nil {
		return &Error{p.entry, p.key, err}
	}
	return nil
}

// Tree returns the root. The Builder can't be used afterwards.
func (b *Builder) Tree() *tree.Node {
	b.settle()
	return b.root
}

// A parser reads one text.
type parser struct {
	*Builder
	tokens
	entry int    // the current one, for errors
	key   string // and its key
}

// outermost reads the outermost object.
func (p *parser) outermost() error {
	found := false
	err := p.object(func(key string) error {
		if p.key = key; key != "entries" {
			return p.skip()
		}
		if found {
			return errors.New("the key is there twice")
		}
		found = true
		return p.entries()
	})
	if err != nil {
		return err
	}
	p.key = ""
	if !found {
		return errors.New("there is no key \"entries\"")
	}
	if t, err := p.d.Token(); err != io.EOF {
		return fmt.Errorf("want nothing after the object, found %v: %w", t, errors.Join(errMore, err))
	}
	return nil
}

var errMore = errors.New("there is more than one value")

func (p *parser) entries() error {
	return p.array(func() error {
		p.entry++
		e, err := p.parseEntry()
		if err != nil || e.kind == "chunk" {
			return err
		}
		p.key = ""
		return p.apply(e)
	}, func() { p.entry, p.key = -1, "" })
}

// split appends the components of a path to parts, except empty ones and ".". If there are
// none, the path is the root.
func split(path string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." {
			continue
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
