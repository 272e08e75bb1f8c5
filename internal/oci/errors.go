package oci

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrImage is the cause if what is read is no container image, or a damaged one.
var ErrImage = errors.New("unusable container image")

// ErrLimit is the cause if an image goes beyond a limit of this package.
var ErrLimit = errors.New("container image goes beyond a limit")

// Limits of what is read.
const (
	// MaxDocument is the size of an index, a manifest or a configuration in bytes.
	// Registries accept manifests up to it as a rule.
	MaxDocument = 4 << 20
	// MaxLayers is the number of layers. Runtimes mount no more than 500.
	MaxLayers = 1000
	// MaxDepth is how deep indexes may be nested.
	MaxDepth = 4
	// MaxArchiveEntries is the number of files in an archive of an image.
	MaxArchiveEntries = 1 << 16
	// maxArchiveName is the length of their names in bytes. Layers have the longest,
	// with a digest in them.
	maxArchiveName = 1 << 10
)

// An unusable is an error that wraps ErrImage, without its words.
type unusable struct{ error }

func (e unusable) Unwrap() []error { return []error{ErrImage, e.error} }

func imageError(format string, args ...any) error { return unusable{fmt.Errorf(format, args...)} }

// notJSON is the error for a document that can't be parsed.
func notJSON(what string, err error) error {
	return imageError("%s: want JSON as the OCI image format says: %w", what, err)
}

// A SyntaxError is about a text that is no reference to an image.
type SyntaxError struct{ Text, Problem string }

func (e *SyntaxError) Error() string { return fmt.Sprintf("%q: %s", e.Text, e.Problem) }

// A MismatchError is about a blob that isn't the one that its name or its descriptor means.
// It wraps ErrImage.
type MismatchError struct {
	What        string // "manifest", "layer 3", …
	Quality     string // "digest", "size" or "diff_id"
	Want, Found string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: want the %s %s, found %s", e.What, e.Quality, e.Want, e.Found)
}

func (e *MismatchError) Unwrap() error { return ErrImage }

// A NameError is about a reference that names none of the images that are there, or that
// names none where there are several. It wraps ErrImage.
type NameError struct {
	Name  string   // "" if none was given
	Names []string // of the images that are there
}

func (e *NameError) Error() string {
	there := strings.Join(e.Names, ", ")
	switch {
	case len(e.Names) == 0 && e.Name == "":
		return "there is no image"
	case len(e.Names) == 0:
		return fmt.Sprintf("want the image %q, and no image there has a name", e.Name)
	case e.Name == "":
		return "there are several images: " + there
	}
	return fmt.Sprintf("want the image %q, found %s", e.Name, there)
}

func (e *NameError) Unwrap() error { return ErrImage }

// A PlatformError is about an index without an image for the platform. It wraps ErrImage.
type PlatformError struct {
	Want  string
	Found []string
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("want an image for %s, found images for %s", e.Want, strings.Join(e.Found, ", "))
}

func (e *PlatformError) Unwrap() error { return ErrImage }

// A TypeError is about a manifest or a layer of a type that holds no files for a root. It
// wraps ErrImage.
type TypeError struct {
	What string // "manifest", "configuration" or "layer 3"
	Type types.MediaType
}

func (e *TypeError) Error() string {
	if e.Type == "" {
		return e.What + ": it has no media type"
	}
	return fmt.Sprintf("%s: its media type %q isn't one of a container image", e.What, string(e.Type))
}

func (e *TypeError) Unwrap() error { return ErrImage }
