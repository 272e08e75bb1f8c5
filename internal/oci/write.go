package oci

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Blob is something that a manifest refers to: a configuration or a layer.
type Blob struct {
	MediaType types.MediaType
	Digest    string // "sha256:HEX"
	Size      int64  // in bytes
	// Open opens its content, possibly several times.
	Open func() (io.ReadCloser, error)
}

// A Manifest is a document that makes an image, or an artifact, of blobs.
type Manifest struct {
	MediaType    types.MediaType
	Content      []byte
	ArtifactType string // of an artifact
	Platform     string // OS/ARCHITECTURE[/VARIANT] of an image
}

// Digest returns the digest of a manifest, "sha256:HEX".
func (m Manifest) Digest() string { return digestOf(m.Content) }

// A Destination takes container images. What is there already is found out and left.
type Destination interface {
	// PutBlob puts a blob, and reports whether it wasn't there.
	PutBlob(ctx context.Context, b Blob) (stored bool, err error)
	// PutManifest puts a manifest, under the tag of the reference if tagged is set. Its
	// blobs have to be there.
	PutManifest(ctx context.Context, m Manifest, tagged bool) error
	fmt.Stringer
	io.Closer
}

// Create opens a layout or a repository of a registry to put images there, and finds out whether that
// is possible. A layout that doesn't exist is made.
func Create(ctx context.Context, r Reference, o Options) (Destination, error) {
	if err := r.CheckDestination(); err != nil {
		return nil, err
	}
	if r.Transport == Registry {
		return createRemote(ctx, r, o)
	}
	return createLayout(r)
}

// CheckDestination returns a *SyntaxError if images can't be put where the reference says.
func (r Reference) CheckDestination() error {
	switch {
	case r.Transport != Layout && r.Transport != Registry:
		return &SyntaxError{r.String(), "want oci:DIR[:TAG] or docker://HOST/NAME[:TAG] to write to"}
	case r.Digest != "" || r.Transport == Registry && r.hasDigest():
		return &SyntaxError{r.String(), "want no digest where something is written: it follows from the content"}
	}
	return nil
}
