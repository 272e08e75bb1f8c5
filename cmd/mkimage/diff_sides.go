package main

import (
	"bytes"
	"context"
	"os"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// sides reads what is to be compared. Images come first: they say how the rest is to
// be read and what can be said of it.
func (o *diffOptions) sides(ctx context.Context, u *ui, names [2]string) (a, b *tree.Node, err error) {
	var roots [2]*tree.Node
	var formats []erofs.Format
	for i, name := range names {
		if look, is := o.isImage(name); is {
			m, err := look.read(name)
			if err != nil {
				return nil, nil, err
			}
			roots[i], formats = m.root, append(formats, m.format)
		}
	}
	slices.Sort(formats)
	o.configure(formats, roots)
	for i, name := range names {
		fromImage := roots[i] != nil
		if !fromImage {
			s, err := readSource(ctx, u, name, &o.read)
			if err != nil {
				return nil, nil, err
			}
			roots[i] = s.root
		}
		if fromImage && formats[0] == formats[len(formats)-1] {
			continue // it's as that format has it
		}
		for _, f := range formats {
			roots[i] = inFormat(roots[i], f)
		}
	}
	return roots[0], roots[1], nil
}

// isImage reports whether a name is that of an image, and how to open it. A file goes
// before a ref of that name.
func (o *diffOptions) isImage(name string) (lookOptions, bool) {
	if _, _, found := findSource(name); found {
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
	o.read.sink, o.read.Sockets, o.read.format = directory.NewDigests(alg), true, erofs.V1
	if len(formats) > 0 {
		o.read.format = formats[len(formats)-1]
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
