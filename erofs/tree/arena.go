package tree

import "strings"

// An Arena allocates the parts of a tree in large pieces, so that a tree of a million files
// takes thousands of allocations instead of millions. A piece lives as long as any part of
// it is in use. The zero Arena is ready for use; don't copy it.
type Arena struct {
	nodes  []Node
	xattrs []Xattr
	text   strings.Builder
	names  map[string]string
	values map[string][]byte
}

// Sizes of the pieces: nodes, extended attributes, bytes of text.
const (
	nodePiece  = 128
	xattrPiece = 256
	textPiece  = 32 << 10
)

// internMax is the longest value, in bytes, of which equal ones are kept only once.
// SELinux labels, capabilities and ACLs repeat; longer values rarely do.
const internMax = 256

// Node returns a new zero node.
func (a *Arena) Node() *Node {
	if len(a.nodes) == 0 {
		a.nodes = make([]Node, nodePiece)
	}
	n := &a.nodes[0]
	a.nodes = a.nodes[1:]
	return n
}

// Xattrs returns an empty list with room for n extended attributes.
func (a *Arena) Xattrs(n int) []Xattr {
	if n > xattrPiece/4 {
		return make([]Xattr, 0, n)
	}
	if len(a.xattrs) < n {
		a.xattrs = make([]Xattr, xattrPiece)
	}
	list := a.xattrs[:0:n]
	a.xattrs = a.xattrs[n:]
	return list
}

// String returns b as a string.
func (a *Arena) String(b []byte) string {
	if len(b) > textPiece/16 {
		return string(b)
	}
	if a.text.Cap()-a.text.Len() < len(b) {
		a.text.Reset() // the strings made so far keep the old piece
		a.text.Grow(textPiece)
	}
	start := a.text.Len()
	a.text.Write(b)
	return a.text.String()[start:]
}

// Name returns b as a string, and keeps equal strings only once. It is for the names of
// extended attributes, of which a tree has few.
func (a *Arena) Name(b []byte) string {
	if s, ok := a.names[string(b)]; ok {
		return s
	}
	if a.names == nil {
		a.names = make(map[string]string)
	}
	s := string(b)
	a.names[s] = s
	return s
}

// Value returns a copy of b. Short values share it with earlier equal ones.
func (a *Arena) Value(b []byte) []byte {
	if len(b) > internMax {
		return append([]byte(nil), b...)
	}
	if v, ok := a.values[string(b)]; ok {
		return v
	}
	if a.values == nil {
		a.values = make(map[string][]byte)
	}
	v := append(make([]byte, 0, len(b)), b...)
	a.values[string(b)] = v
	return v
}
