package erofs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// nativeRules are the rules of composefs-rs, for V2.
var nativeRules = rules{
	number:   (*Plan).numberNative,
	measure:  (*Plan).measureNative,
	place:    (*inode).placeNative,
	prefixes: []uint8{1, 2, 3, 4, 5, 6},
	refsMax:  math.MaxUint32,
	compare: func(a, b sharedXattr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.suffix, b.suffix), cmp.Compare(a.value, b.value))
	},
	absoluteIDs:  true,
	inoIsNid:     true,
	wholeSeconds: true,
}

// Limits for a file in a V2 image, in bytes: composefs-rs doesn't read more.
const (
	nativeInlineMax = 512
	nativeTargetMax = 1024
)

// nativeChunk is the chunk size of all files whose content is an object, 2^31 blocks.
const nativeChunk = 31

// A nativeOrder numbers files depth first, a directory before its children. Originals don't
// matter: the first name that it finds counts.
type nativeOrder struct {
	p      *Plan
	linked map[*tree.Node]uint32 // files with several names → how many
	met    map[*tree.Node]uint32 // files that have a number
	xattrs rewriter
	path   []string // names of a refused file and its directories, innermost first
}

func (p *Plan) numberNative(root *tree.Node) error {
	linked := tree.Linked(root)
	o := nativeOrder{p: p, linked: linked, met: make(map[*tree.Node]uint32, len(linked))}
	p.rootList = root.Entries()
	if _, err := o.add(root, 0); err != nil {
		slices.Reverse(o.path)
		return fmt.Errorf("%q: %w", "/"+strings.Join(o.path, "/"), err)
	}
	return nil
}

// add numbers a file and everything below it.
func (o *nativeOrder) add(n *tree.Node, parent uint32) (uint32, error) {
	names, several := o.linked[n]
	if !several {
		names = 1
	}
	if err := checkNative(n, names); err != nil {
		return 0, err
	}
	number := uint32(len(o.p.inodes))
	if several {
		o.met[n] = number
	}
	o.p.inodes = append(o.p.inodes, inode{node: n, kind: n.Kind, nlink: names, parent: parent})
	o.p.setXattrs(&o.p.inodes[number], o.xattrs.rewriteNative(n))
	if n.Kind == tree.Directory {
		return number, o.children(n, number)
	}
	return number, nil
}

func (o *nativeOrder) children(dir *tree.Node, number uint32) error {
	p := o.p
	first, nlink := len(p.targets), uint32(2)
	p.targets = slices.Grow(p.targets, dir.Len())[:first+dir.Len()]
	for i, e := range dir.Entries() {
		target, met := o.met[e.Node]
		if !met {
			var err error
			if target, err = o.add(e.Node, number); err != nil {
				o.path = append(o.path, e.Name)
				return err
			}
		}
		p.targets[first+i] = target
		if e.Node.Kind == tree.Directory {
			nlink++
		}
	}
	p.inodes[number].targets, p.inodes[number].nlink = uint32(first), nlink
	return nil
}

// checkNative returns an error if a V2 image can't have a file with so many names.
func checkNative(n *tree.Node, names uint32) error {
	switch {
	case n.IsWhiteout() && names > 1:
		return errors.New("a whiteout with several names, which V2 images don't have")
	case len(n.Target) > nativeTargetMax:
		return fmt.Errorf("a symlink of %d bytes, in V2 images they have at most %d", len(n.Target), nativeTargetMax)
	case len(n.Inline) > nativeInlineMax:
		return fmt.Errorf("%d bytes of content in the image, V2 images have at most %d", len(n.Inline), nativeInlineMax)
	case !hasObject(n):
		return nil
	case n.Payload == "" && !n.Object.IsZero():
		return errors.New("a digest without a path in the object store, which V2 images don't have")
	case n.Payload != "" && n.ContentObject().IsZero():
		return fmt.Errorf("want a digest, or a payload that ends in one as in 0f/0e…, found payload %q", n.Payload)
	}
	return nil
}

// hasObject reports whether a file's content is an object or a hole. In V2 an empty file
// can be an object too.
func hasObject(n *tree.Node) bool {
	return n.Kind == tree.Regular && len(n.Inline) == 0 && (n.Size > 0 || n.Payload != "" || !n.Object.IsZero())
}

// rewriteNative makes the effective xattrs of n in V2: the ones that overlayfs needs, and
// then the file's own in order of names. The redirect is made from the object's digest, not
// from the path in the tree.
func (r *rewriter) rewriteNative(n *tree.Node) []effectiveXattr {
	r.list, r.buf = r.list[:0], r.buf[:0]
	if hasObject(n) {
		r.buf = appendMetacopy(r.buf, n.Object)
		metacopy := r.buf
		r.list = append(r.list, effectiveXattr{nameMetacopy, metacopy})
		if object := n.ContentObject(); !object.IsZero() {
			r.buf = object.AppendObjectPath(append(r.buf, '/'))
			r.list = append(r.list, effectiveXattr{nameRedirect, r.buf[len(metacopy):]})
		}
	}
	for _, x := range n.Xattrs() {
		r.list = append(r.list, effectiveXattr{escapeName(x.Name), x.Value})
	}
	return r.list
}

// measureNative finds out how much space an inode needs behind it, and a directory in
// blocks. The record is always the large one.
func (p *Plan) measureNative(i uint32) error {
	in := &p.inodes[i]
	n := in.node
	in.extended = true
	switch {
	case n.Kind == tree.Directory:
		p.measureDirectory(i)
	case n.Kind == tree.Symlink:
		in.size, in.tail = uint64(len(n.Target)), uint32(len(n.Target))
	case hasObject(n):
		in.size, in.layout, in.chunk = n.Size, layoutChunk, nativeChunk
		if !n.Object.IsZero() {
			in.tail = 4
		}
	case n.Kind == tree.Regular:
		in.size, in.tail = n.Size, uint32(len(n.Inline))
	}
	return nil
}

// placeNative puts an inode at pos, or behind it if the tail would be in another block than
// the end of the xattrs. A tail that fits exactly counts as one that doesn't, since
// composefs-rs checks the byte after it.
func (i *inode) placeNative(pos int64) int64 {
	head := i.recordSize() + int64(i.xattrs)
	if i.tail > 0 && i.layout != layoutChunk {
		if last, end := pos+head-1, pos+head+int64(i.tail); last/blockSize != end/blockSize {
			pos = roundUp(pos+blockSize-last%blockSize, slotSize)
		}
	}
	i.offset = pos
	return pos + head + int64(i.tail)
}
