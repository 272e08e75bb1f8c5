package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/verity"
)

// A side is one of what is compared.
type side struct {
	root   *tree.Node
	image  *os.File     // nil if it is a source
	format erofs.Format // of the image
}

// sides reads what is to be compared. Images come first: they say how the rest is to
// be read and what can be said of it. Their files stay open.
func (o *diffOptions) sides(ctx context.Context, u *ui, names [2]string) (sides [2]side, err error) {
	var roots [2]*tree.Node
	var formats []erofs.Format
	for i, name := range names {
		look, is := o.isImage(name)
		if !is {
			continue
		}
		f, err := look.open(name)
		if err != nil {
			return sides, err
		}
		sides[i].image = f
		m, err := source.ReadImage(name, f)
		if err != nil {
			return sides, err
		}
		sides[i].format, roots[i], formats = m.Format, m.Root, append(formats, m.Format)
	}
	slices.Sort(formats)
	o.configure(formats, roots)
	for i, name := range names {
		fromImage := roots[i] != nil
		if !fromImage {
			s, err := o.source.read(ctx, u, name)
			if err != nil {
				return sides, err
			}
			roots[i] = s.Root
		}
		sides[i].root = roots[i]
		if fromImage && formats[0] == formats[len(formats)-1] {
			continue // it's as that format has it
		}
		for _, f := range formats {
			sides[i].root = inFormat(sides[i].root, f)
		}
	}
	return sides, nil
}

// close closes the files of both sides.
func closeSides(sides [2]side) {
	for _, s := range sides {
		if s.image != nil {
			s.image.Close()
		}
	}
}

// differences returns in what the sides differ: first in their format, then in their
// trees. Where these are the same it tells whether the images are.
func differences(a, b side) iter.Seq2[treediff.Difference, error] {
	return func(yield func(treediff.Difference, error) bool) {
		found := a.image != nil && b.image != nil && a.format != b.format
		if found && !yield(treediff.Difference{Attribute: treediff.Format, A: a.format.String(), B: b.format.String()}, nil) {
			return
		}
		for d := range treediff.Trees(a.root, b.root) {
			found = true
			if !yield(d, nil) {
				return
			}
		}
		if found || a.image == nil && b.image == nil {
			return
		}
		if d, err := compareBytes(a, b); err != nil || d.Attribute != "" {
			yield(d, err)
		}
	}
}

// compareBytes says how images of equal trees in one format differ: from each other, and
// from what mkimage writes for that tree. The Difference is zero if they don't.
func compareBytes(a, b side) (d treediff.Difference, err error) {
	format := a.format
	if a.image == nil {
		format = b.format
	}
	if a.image != nil && b.image != nil {
		st, err := b.image.Stat()
		if err != nil {
			return d, err
		}
		w := &comparison{with: a.image}
		if _, err := io.Copy(w, io.NewSectionReader(b.image, 0, st.Size())); err != nil {
			return d, err
		}
		if same, err := w.end(); same || err != nil {
			return d, err
		}
	}
	values := [2]string{}
	for i, s := range []side{a, b} {
		values[i] = "mkimage's"
		if s.image == nil {
			continue
		}
		w := &comparison{with: s.image}
		if err := erofs.Write(w, s.root, format); err != nil {
			return d, err
		}
		same, err := w.end()
		if err != nil {
			return d, err
		}
		if !same {
			values[i] = fmt.Sprintf("not mkimage's from %#x on", w.at)
		}
	}
	if values[0] == values[1] && (a.image == nil || b.image == nil) {
		return d, nil
	}
	return treediff.Difference{Attribute: treediff.Bytes, A: values[0], B: values[1]}, nil
}

// A comparison compares what is written to it with a file.
type comparison struct {
	with   *os.File
	at     int64 // where the first difference is, or how much was the same
	differ bool
	buf    []byte
}

func (c *comparison) Write(p []byte) (int, error) {
	if c.differ {
		return len(p), nil
	}
	c.buf = slices.Grow(c.buf[:0], len(p))[:len(p)]
	n, err := c.with.ReadAt(c.buf, c.at)
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

// end reports whether the file has what was written to the comparison, and nothing else.
func (c *comparison) end() (same bool, err error) {
	st, err := c.with.Stat()
	return err == nil && !c.differ && st.Size() == c.at, err
}

// isImage reports whether a name is that of an image, and how to open it. A file goes
// before a ref of that name.
func (o *diffOptions) isImage(name string) (lookOptions, bool) {
	if _, _, found := source.Find(name); found {
		return lookOptions{}, false
	}
	st, err := os.Stat(name)
	if err != nil {
		return o.look, true // a ref, or nothing
	}
	return lookOptions{}, !st.IsDir()
}

// configure makes what isn't an image be read as it would be for the images.
func (o *diffOptions) configure(formats []erofs.Format, images [2]*tree.Node) {
	alg := o.algorithm
	for _, root := range images {
		if alg == 0 && root != nil {
			alg = algorithmOf(root)
		}
	}
	if alg == 0 {
		alg = verity.SHA256
	}
	o.source.Sink, o.source.Sockets, o.source.Format = directory.NewDigests(alg), true, erofs.V1
	if len(formats) > 0 {
		o.source.Format = formats[len(formats)-1]
	}
}

// algorithmOf returns the algorithm of the first object's digest, 0 if there is none.
func algorithmOf(root *tree.Node) verity.Algorithm {
	for _, e := range tree.Walk(root) {
		if !e.Node.Object.IsZero() {
			return e.Node.Object.Algorithm()
		}
	}
	return 0
}

// inFormat returns what an image of the tree would say of it: formats differ in what
// they keep. A tree that can't be an image of the format stays as it is.
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
