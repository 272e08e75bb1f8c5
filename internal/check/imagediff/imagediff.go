// Package imagediff says in what two images differ, or an image and something that one
// could be made of: what keeps them from having one digest.
//
//	image A ──┐              format ─┐
//	          ├─▶ Comparison tree   ─┼─▶ differences, see treediff
//	image B ──┘              bytes  ─┘
//
// Formats differ in what they keep of a file. Trees are compared after both went through
// the formats of both sides, so that nothing is listed that only a format makes. That the
// formats differ is a difference by itself.
package imagediff

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/verity"
)

// A Side is one of the two: an image, or the tree of something else.
type Side struct {
	Root   *tree.Node
	Image  *os.File     // nil if it is something else
	Format erofs.Format // of the image
}

// A Comparison is two sides that can be compared.
type Comparison struct {
	a, b    Side
	formats []erofs.Format // of the sides that are images, in order
}

// New returns the comparison of two sides. Their files must stay open.
func New(a, b Side) *Comparison {
	c := &Comparison{a: a, b: b}
	for _, s := range []Side{a, b} {
		if s.Image != nil {
			c.formats = append(c.formats, s.Format)
		}
	}
	slices.Sort(c.formats)
	for _, s := range []*Side{&c.a, &c.b} {
		if s.Image != nil && c.oneFormat() {
			continue // it's as that format has it
		}
		for _, f := range c.formats {
			s.Root = inFormat(s.Root, f)
		}
	}
	return c
}

// oneFormat reports whether no side is an image of another format than the other.
func (c *Comparison) oneFormat() bool { return len(slices.Compact(slices.Clone(c.formats))) <= 1 }

// inFormat returns what an image of the tree would say of it. A tree that can't be an
// image of the format stays as it is.
func inFormat(root *tree.Node, f erofs.Format) *tree.Node {
	var b bytes.Buffer
	if err := erofs.Write(&b, root, f); err != nil {
		return root
	}
	m, err := erofs.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		return root
	}
	if again, err := m.Tree(); err == nil {
		return again
	}
	return root
}

// Update returns what an update from A to B transfers.
func (c *Comparison) Update() treediff.Update { return treediff.NewUpdate(c.a.Root, c.b.Root) }

// Differences returns in what the sides differ: first in their format, then in their
// trees. Where both are the same it tells whether the bytes of the images are.
func (c *Comparison) Differences() iter.Seq2[treediff.Difference, error] {
	return func(yield func(treediff.Difference, error) bool) {
		found := !c.oneFormat()
		if found && !yield(treediff.Difference{Attribute: treediff.Format, A: c.a.Format.String(), B: c.b.Format.String()}, nil) {
			return
		}
		for d := range treediff.Trees(c.a.Root, c.b.Root) {
			found = true
			if !yield(d, nil) {
				return
			}
		}
		if found || len(c.formats) == 0 {
			return
		}
		if d, err := c.bytes(); err != nil || d.Attribute != "" {
			yield(d, err)
		}
	}
}

// bytes says how images of equal trees in one format differ from what mkimage writes of
// that tree. The Difference is zero if they are the same.
func (c *Comparison) bytes() (d treediff.Difference, err error) {
	if c.a.Image != nil && c.b.Image != nil {
		st, err := c.b.Image.Stat()
		if err != nil {
			return d, err
		}
		w := &comparer{with: c.a.Image}
		if _, err := io.Copy(w, io.NewSectionReader(c.b.Image, 0, st.Size())); err != nil {
			return d, err
		}
		if same, err := w.end(); same || err != nil {
			return d, err
		}
	}
	// If only one side is an image, the other one's tree says what it should be.
	differs := false
	var values [2]string
	for i, s := range []Side{c.a, c.b} {
		values[i] = "as mkimage writes them"
		if s.Image == nil {
			continue
		}
		root := s.Root
		if other := []Side{c.b, c.a}[i]; other.Image == nil {
			root = other.Root
		}
		w := &comparer{with: s.Image}
		if err := erofs.Write(w, root, s.Format); err != nil {
			return d, err
		}
		same, err := w.end()
		if err != nil {
			return d, err
		}
		if !same {
			differs = true
			values[i] = fmt.Sprintf("other bytes from %#x on", w.at)
		}
	}
	if !differs {
		return d, nil
	}
	return treediff.Difference{Attribute: treediff.Bytes, A: values[0], B: values[1]}, nil
}

// A comparer compares what is written to it with a file.
type comparer struct {
	with   *os.File
	at     int64 // where the first difference is, or how much was the same
	differ bool
	buf    []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if c.differ {
		return len(p), nil
	}
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := c.with.ReadAt(c.buf[:len(p)], c.at)
	if err != nil && err != io.EOF {
		return 0, err
	}
	same := 0
	for same < n && c.buf[same] == p[same] {
		same++
	}
	c.at += int64(same)
	c.differ = same < len(p)
	return len(p), nil
}

// end reports whether the file has what was written to the comparer, and nothing else.
func (c *comparer) end() (same bool, err error) {
	st, err := c.with.Stat()
	return err == nil && !c.differ && st.Size() == c.at, err
}

// Algorithm returns the algorithm of the first object's digest in a tree, 0 if there is
// none: what isn't an image is to be read with the same one.
func Algorithm(root *tree.Node) verity.Algorithm {
	for _, e := range tree.Walk(root) {
		if !e.Node.Object.IsZero() {
			return e.Node.Object.Algorithm()
		}
	}
	return 0
}
