package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// A ChosenError is the remark that the platform of an image was chosen by this machine.
type ChosenError struct{ Platform string }

func (e *ChosenError) Error() string {
	return "it has images for several platforms, and the one for " + e.Platform + " is taken, as this machine's"
}

func checkImage(arg string) error {
	_, err := oci.ParseReference(arg)
	return err
}

// imageFiles returns the function for the files of images with a transport.
func imageFiles(t oci.Transport) func(string) []string {
	return func(operand string) []string {
		r, err := oci.ParseReference(prefixOf(t) + operand)
		if err != nil || t == oci.Registry {
			return nil
		}
		return []string{r.Path}
	}
}

// prefixOf is how references with a transport begin.
func prefixOf(t oci.Transport) string {
	if t == oci.Registry {
		return "docker://"
	}
	return string(t) + ":"
}

// readImage returns the function that reads images with a transport.
func readImage(t oci.Transport) func(context.Context, string, *options) (Tree, error) {
	return func(ctx context.Context, operand string, o *options) (_ Tree, err error) {
		r, err := oci.ParseReference(prefixOf(t) + operand)
		if err != nil {
			return Tree{}, err
		}
		image, err := oci.Open(ctx, r, o.Image)
		if err != nil {
			return Tree{}, err
		}
		defer func() { err = errors.Join(err, image.Close()) }()
		if image.Chosen && o.Remark != nil {
			o.Remark(&FileError{r.String(), &ChosenError{image.Platform}})
		}
		l := o.newLayers()
		for _, layer := range image.Layers {
			l.current = fmt.Sprintf("%s, layer %d", r, layer.Number)
			if err := l.add(ctx, layer); err != nil {
				return Tree{}, &FileError{r.String(), err}
			}
		}
		return l.tree(r.String()), nil
	}
}

// add adds a layer of an image, whose content and unpacked content must be what the image
// says.
func (l *layers) add(ctx context.Context, layer oci.Layer) error {
	r, err := layer.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	unpacked := sha256.New()
	err = l.ApplyTee(ctx, r, unpacked)
	if err != nil && !errors.Is(err, tarball.ErrArchive) {
		return inLayer(layer, err)
	}
	// What follows the archive counts for the digest as well. An archive that can't be read
	// may be another than the image's.
	if _, wrong := io.Copy(io.Discard, r); wrong != nil {
		return wrong
	}
	if err != nil {
		return inLayer(layer, err)
	}
	return layer.CheckDiff(oci.Digest(unpacked.Sum(nil)))
}

// inLayer says in which layer an error was, unless it says so itself.
func inLayer(layer oci.Layer, err error) error {
	if errors.Is(err, oci.ErrImage) {
		return err
	}
	return fmt.Errorf("layer %d: %w", layer.Number, err)
}
