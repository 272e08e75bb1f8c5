package main

import (
	"context"
	"os"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/check/imagediff"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/verity"
)

// sides reads what is to be compared. Images come first: they say how the rest is to
// be read. Their files stay open.
func (o *diffOptions) sides(ctx context.Context, u *ui, names [2]string) (sides [2]imagediff.Side, err error) {
	var formats []erofs.Format
	alg := o.algorithm
	for i, name := range names {
		look, is := o.isImage(name)
		if !is {
			continue
		}
		f, err := look.open(name)
		if err != nil {
			return sides, err
		}
		sides[i].Image = f
		m, err := source.ReadImage(name, f)
		if err != nil {
			return sides, err
		}
		sides[i].Root, sides[i].Format = m.Root, m.Format
		formats = append(formats, m.Format)
		if alg == 0 {
			alg = imagediff.Algorithm(m.Root)
		}
	}
	if alg == 0 {
		alg = verity.SHA256
	}
	o.source.Sink, o.source.Sockets, o.source.Format = directory.NewDigests(alg), true, erofs.V1
	if len(formats) > 0 {
		o.source.Format = slices.Max(formats)
	}
	for i, name := range names {
		if sides[i].Image != nil {
			continue
		}
		s, err := o.source.read(ctx, u, name)
		if err != nil {
			return sides, err
		}
		sides[i].Root = s.Root
	}
	return sides, nil
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
