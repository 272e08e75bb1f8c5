package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/composefs-go/composefs/internal/hurry"
	"github.com/composefs-go/composefs/internal/version"
)

// registry is a repository of a registry.
type registry struct {
	name    name.Repository
	puller  *remote.Puller
	ranger  *ranger
	options []remote.Option
}

func openRemote(ctx context.Context, r Reference, o Options) (*Image, error) {
	ref, err := name.ParseReference(r.Path)
	if err != nil {
		return nil, &SyntaxError{r.String(), err.Error()}
	}
	puller, err := remote.NewPuller(remoteOptions(o)...)
	if err != nil {
		return nil, err
	}
	s := registry{ref.Context(), puller, &ranger{repository: ref.Context(), transport: roundTripper(o)}, remoteOptions(o)}
	d, err := puller.Get(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, explain(withCause(ctx, err)))
	}
	i, err := find(ctx, fetched{s, d}, d.Descriptor, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, withCause(ctx, err))
	}
	return i, nil
}

// remoteOptions are the options for all that is done with registries.
func remoteOptions(o Options) []remote.Option {
	return []remote.Option{
		// The files of docker and podman, REGISTRY_AUTH_FILE, and their credential helpers.
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent("composefs-go/" + version.Number),
		remote.WithTransport(roundTripper(o)),
	}
}

func roundTripper(o Options) http.RoundTripper {
	return limiting{hurry.Transport{RoundTripper: remote.DefaultTransport, Patience: cmp.Or(o.Patience, hurry.Patience)}}
}

// Causes of refusals by registries.
var (
	ErrDenied  = errors.New("the registry doesn't let you")
	ErrUnknown = errors.New("the registry doesn't have it")
)

// explain adds to an answer of a registry what it means.
func explain(err error) error {
	var answer *transport.Error
	switch {
	case !errors.As(err, &answer):
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// withCause is the reason why the context has ended, if it has.
func withCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r registry) document(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if d.MediaType.IsIndex() || d.MediaType.IsImage() {
		m, err := r.puller.Get(ctx, r.name.Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		return io.NopCloser(strings.NewReader(string(m.Manifest))), nil
	}
	return r.blob(ctx, d)
}

func (r registry) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	l, err := r.puller.Layer(context.WithValue(ctx, blobKey{}, true), r.name.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

func (r registry) blobPart(ctx context.Context, d v1.Descriptor, offset, size int64) (io.ReadCloser, error) {
	return r.ranger.open(ctx, d, offset, size)
}

func (r registry) referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	options := append(r.options, remote.WithContext(ctx))
	index, err := remote.Referrers(r.name.Digest(subject.String()), options...)
	if err != nil {
		return nil, explain(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return list.Manifests, nil
}

// blobKey marks the context of requests for blobs, which redirects keep.
type blobKey struct{}

// fetched is a registry from which a manifest has been fetched already, under its tag.
type fetched struct {
	registry
	first *remote.Descriptor
}

func (f fetched) document(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest == f.first.Digest {
		return io.NopCloser(strings.NewReader(string(f.first.Manifest))), nil
	}
	return f.registry.document(ctx, d)
}

// limiting ends answers that are no blobs at MaxDocument bytes.
type limiting struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t limiting) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil && r.Context().Value(blobKey{}) == nil {
		res.Body = &limited{res.Body, MaxDocument, r.URL.Path}
	}
	return res, err
}

type limited struct {
	io.ReadCloser
	left int64
	what string
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: %s: at most %d bytes, found more", ErrLimit, l.what, MaxDocument)
	}
	return n, err
}
