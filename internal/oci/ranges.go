package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/composefs-go/composefs/internal/hurry"
)

// A ranger reads parts of blobs of a registry, which the library for registries can't.
type ranger struct {
	repository name.Repository
	transport  http.RoundTripper

	once   sync.Once
	client *http.Client
	err    error
}

// connect logs in.
func (r *ranger) connect(ctx context.Context) (*http.Client, error) {
	r.once.Do(func() {
		auth, err := authn.Resolve(ctx, authn.DefaultKeychain, r.repository)
		if err != nil {
			r.err = err
			return
		}
		t, err := transport.NewWithContext(ctx, r.repository.Registry, auth, r.transport, []string{r.repository.Scope(transport.PullScope)})
		r.client, r.err = &http.Client{Transport: t, CheckRedirect: hurry.CheckRedirect}, err
	})
	return r.client, r.err
}

// open opens a part of a blob.
func (r *ranger) open(ctx context.Context, d v1.Descriptor, offset, size int64) (io.ReadCloser, error) {
	client, err := r.connect(ctx)
	if err != nil {
		return nil, explain(err)
	}
	at := url.URL{Scheme: r.repository.Scheme(), Host: r.repository.RegistryStr(), Path: fmt.Sprintf("/v2/%s/blobs/%s", r.repository.RepositoryStr(), d.Digest)}
	request, err := http.NewRequestWithContext(context.WithValue(ctx, blobKey{}, true), http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+size-1))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if err := checkPart(answer, offset, size); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return part{io.LimitReader(answer.Body, size), answer.Body}, nil
}

// checkPart checks that an answer is the part that was asked for.
func checkPart(answer *http.Response, offset, size int64) error {
	switch answer.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK, http.StatusRequestedRangeNotSatisfiable, http.StatusNotImplemented:
		return ErrNoRanges
	default:
		return explain(transport.CheckError(answer, http.StatusPartialContent))
	}
	want := fmt.Sprintf("bytes %d-%d/", offset, offset+size-1)
	if found := answer.Header.Get("Content-Range"); !strings.HasPrefix(found, want) {
		return fmt.Errorf("%w: asked for %q, it sends %.100q", ErrNoRanges, strings.TrimSuffix(want, "/"), found)
	}
	return nil
}

// part is a Reader with the Close of another one.
type part struct {
	io.Reader
	io.Closer
}
