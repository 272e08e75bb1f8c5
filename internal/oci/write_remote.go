package oci

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/composefs-go/composefs/internal/await"
)

// A registryWriter puts images into a repository of a registry.
type registryWriter struct {
	reference Reference
	tag       name.Reference
	pusher    *remote.Pusher
}

func createRemote(ctx context.Context, r Reference, o Options) (Destination, error) {
	tag, err := name.ParseReference(r.Path)
	if err != nil {
		return nil, &SyntaxError{r.String(), err.Error()}
	}
	pusher, err := remote.NewPusher(remoteOptions(o)...)
	if err != nil {
		return nil, err
	}
	w := &registryWriter{r, tag, pusher}
	// Better now than after layers have been compressed.
	_, err = await.Call(ctx, func() (struct{}, error) {
		return struct{}{}, remote.CheckPushPermission(tag, authn.DefaultKeychain, roundTripper(o))
	})
	if err != nil {
		return nil, w.fault(ctx, err)
	}
	return w, nil
}

// hasDigest reports whether the reference to a registry names a digest.
func (r Reference) hasDigest() bool {
	ref, err := name.ParseReference(r.Path)
	_, is := ref.(name.Digest)
	return err == nil && is
}

// PutBlob implements Destination.
func (w *registryWriter) PutBlob(ctx context.Context, b Blob) (stored bool, err error) {
	digest, err := v1.NewHash(b.Digest)
	if err != nil {
		return false, err
	}
	l := &uploaded{Blob: b, digest: digest}
	if err := w.pusher.Upload(ctx, w.tag.Context(), l); err != nil {
		return false, w.fault(ctx, err)
	}
	return l.opened, nil
}

// PutManifest implements Destination. If the registry doesn't list what refers to an image,
// the list is kept in a tag, as the distribution specification says.
func (w *registryWriter) PutManifest(ctx context.Context, m Manifest, tagged bool) error {
	ref := w.tag
	if !tagged {
		ref = w.tag.Context().Digest(m.Digest())
	}
	if err := w.pusher.Put(ctx, ref, taggable{m}); err != nil {
		return w.fault(ctx, err)
	}
	return nil
}

func (w *registryWriter) fault(ctx context.Context, err error) error {
	return fmt.Errorf("%s: %w", w.reference, explain(withCause(ctx, err)))
}

func (w *registryWriter) String() string { return w.reference.String() }
func (w *registryWriter) Close() error   { return nil }

// uploaded is a blob as a layer of the library for registries.
type uploaded struct {
	Blob
	digest v1.Hash
	opened bool
}

func (u *uploaded) Digest() (v1.Hash, error)             { return u.digest, nil }
func (u *uploaded) DiffID() (v1.Hash, error)             { return u.digest, nil } // it isn't asked for
func (u *uploaded) Size() (int64, error)                 { return u.Blob.Size, nil }
func (u *uploaded) MediaType() (types.MediaType, error)  { return u.Blob.MediaType, nil }
func (u *uploaded) Uncompressed() (io.ReadCloser, error) { return u.Compressed() }
func (u *uploaded) Compressed() (io.ReadCloser, error) {
	u.opened = true
	return u.Open()
}

// taggable is a manifest for the library for registries.
type taggable struct{ m Manifest }

func (t taggable) RawManifest() ([]byte, error)        { return t.m.Content, nil }
func (t taggable) MediaType() (types.MediaType, error) { return t.m.MediaType, nil }
