package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// MaxReferrers is the number of artifacts of one type that may refer to an image.
const MaxReferrers = 256

// ErrNoRanges is the cause when parts of a blob can't be read: its server sends all of it or
// nothing.
var ErrNoRanges = errors.New("the server sends no parts of files")

// emptyType is the type of a configuration that isn't one.
const emptyType = "application/vnd.oci.empty.v1+json"

// An Artifact is something that refers to an image.
type Artifact struct {
	Digest      string // of its manifest, "sha256:HEX"
	Annotations map[string]string
	Parts       []Part
}

// A Part is one of the things that an artifact consists of.
type Part struct {
	MediaType   types.MediaType
	Digest      string
	Size        int64 // in bytes
	Annotations map[string]string

	d     v1.Descriptor
	store store
}

// Open opens a part. Reading it to its end fails with a MismatchError if it isn't what the
// manifest says. It is never longer than Size.
func (p Part) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := p.store.blob(ctx, p.d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Digest, err)
	}
	return newChecked(r, p.Digest, p.Digest, p.Size), nil
}

// Artifacts returns the artifacts of a type that refer to the image. An image from a docker
// archive has none.
func (i *Image) Artifacts(ctx context.Context, artifactType string) ([]Artifact, error) {
	if i.store == nil {
		return nil, nil
	}
	subject, err := v1.NewHash(i.Digest)
	if err != nil {
		return nil, err
	}
	listed, err := i.store.referrers(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("what refers to %s: %w", i.Digest, withCause(ctx, err))
	}
	// Some registries list the type of the configuration instead.
	sure, unsure := []v1.Descriptor{}, []v1.Descriptor{}
	for _, d := range listed {
		switch {
		case !d.MediaType.IsImage():
		case d.ArtifactType == artifactType:
			sure = append(sure, d)
		case d.ArtifactType == "", d.ArtifactType == emptyType:
			unsure = append(unsure, d)
		}
	}
	if len(sure) > MaxReferrers {
		return nil, fmt.Errorf("%w: at most %d artifacts of the type %s, found %d", ErrLimit, MaxReferrers, artifactType, len(sure))
	}
	var all []Artifact
	for n, d := range append(sure, unsure[:min(len(unsure), MaxReferrers)]...) {
		a, ok, err := readArtifact(ctx, i.store, d, subject, artifactType)
		if n >= len(sure) && errors.Is(err, ErrImage) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, a)
		}
	}
	return all, nil
}

// readArtifact reads the manifest of an artifact. If it is of another type, or refers to
// something else, ok is false.
func readArtifact(ctx context.Context, s store, d v1.Descriptor, subject v1.Hash, artifactType string) (a Artifact, ok bool, err error) {
	b, err := readDocument(ctx, s, "artifact", d)
	if err != nil {
		return a, false, err
	}
	if err := unambiguous("artifact", b, "manifests"); err != nil {
		return a, false, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return a, false, notJSON("artifact", err)
	}
	if m.ArtifactType != artifactType || m.Subject == nil || m.Subject.Digest != subject {
		return a, false, nil
	}
	if len(m.Layers) > MaxLayers {
		return a, false, fmt.Errorf("%w: at most %d parts of an artifact, found %d", ErrLimit, MaxLayers, len(m.Layers))
	}
	a = Artifact{Digest: d.Digest.String(), Annotations: m.Annotations}
	for _, l := range m.Layers {
		if err := checkHash("part of an artifact", l.Digest); err != nil {
			return a, false, err
		}
		if l.Size < 0 {
			return a, false, imageError("artifact: a part has the size %d", l.Size)
		}
		a.Parts = append(a.Parts, Part{l.MediaType, l.Digest.String(), l.Size, l.Annotations, l, s})
	}
	return a, true, nil
}

// OpenPart opens a part of the archive as it is stored. Nothing compares it with a digest. If
// there are only whole archives, the error is an ErrNoRanges.
func (l Layer) OpenPart(ctx context.Context, offset, size int64) (io.ReadCloser, error) {
	if l.openPart == nil {
		return nil, ErrNoRanges
	}
	if offset < 0 || size <= 0 || offset > l.Size || size > l.Size-offset {
		return nil, imageError("%s: it has no %d bytes from %d on", l.name(), size, offset)
	}
	r, err := l.openPart(ctx, offset, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name(), withCause(ctx, err))
	}
	return r, nil
}
