package source

import (
	"errors"
	"fmt"
	"os"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/filekind"
)

// An Image is the tree of an image.
type Image struct {
	Name   string // as it was given
	Format erofs.Format
	Root   *tree.Node
}

// ReadImage reads the image in an open file: all of it, or only the files at its top with
// the names in only. Errors call it name. If the file is something else, the error is a
// *filekind.Error.
func ReadImage(name string, f *os.File, only ...string) (Image, error) {
	st, err := f.Stat()
	if err != nil {
		return Image{}, err
	}
	m, err := erofs.Open(f, st.Size())
	if err == nil {
		read := m.Tree
		if len(only) > 0 {
			read = func() (*tree.Node, error) { return m.TreeOf(only...) }
		}
		var root *tree.Node
		if root, err = read(); err == nil {
			return Image{name, m.Header().Version, root}, nil
		}
	}
	if other := NotAnImage(f, err); other != nil {
		return Image{}, other
	}
	return Image{}, fmt.Errorf("%s: %w", name, err)
}

// NotAnImage returns an error that says what a file is that couldn't be read as an image,
// nil if it may be a damaged image.
func NotAnImage(f *os.File, err error) error {
	if !errors.Is(err, erofs.ErrCorrupt) {
		return nil
	}
	switch kind := filekind.OfFile(f); kind {
	case filekind.Unknown, filekind.Zeros, filekind.Image:
		return nil
	default:
		return &filekind.Error{Path: f.Name(), Found: kind, Want: "an image"}
	}
}
