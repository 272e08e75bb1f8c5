package source

import (
	"errors"
	"fmt"
	"os"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/filekind"
)

// An Image is an image that was read.
type Image struct {
	Name   string // as it was given
	Format erofs.Format
	Root   *tree.Node
}

// ReadImage reads the image in an open file, which messages call name: all of it, or of
// what is at its top only what is called one of the names. What is no image at all is a
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

// NotAnImage says of a file that couldn't be read as an image what it is instead; nil if it
// may be an image with a fault.
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
