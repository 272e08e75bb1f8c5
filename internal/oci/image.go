package oci

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options say how an image is found.
type Options struct {
	// Platform chooses among the images of an index: OS/ARCHITECTURE[/VARIANT]. If it is
	// "", that is linux and the architecture of this machine.
	Platform string
	// Patience is how long a registry may send next to nothing before it is given up; 0
	// stands for a minute.
	Patience time.Duration
}

// An Image is a container image whose manifest and configuration have been read and
// checked.
type Image struct {
	// MediaType and Manifest are as they are stored. A docker archive has no manifest.
	MediaType types.MediaType
	Manifest  []byte
	Digest    string // of the manifest, "sha256:HEX"; "" without one

	Config       []byte
	ConfigDigest string
	Platform     string // of the configuration, OS/ARCHITECTURE[/VARIANT]

	// Chosen is set if the image was one of an index, and no platform was asked for.
	Chosen bool

	Layers []Layer // lowest first

	store store // nil of a docker archive
	close func() error
}

// Close releases the files that the layers are read from.
func (i *Image) Close() error {
	if i.close == nil {
		return nil
	}
	return i.close()
}

// A Layer is an archive with files of an image, which may be compressed.
type Layer struct {
	Number    int // from 1
	MediaType types.MediaType
	Digest    string // of the archive as it is stored; "" in a docker archive
	Size      int64  // of the archive as it is stored, in bytes
	DiffID    string // digest of the unpacked archive

	Annotations map[string]string // of the manifest

	open     func(ctx context.Context) (io.ReadCloser, error)
	openPart func(ctx context.Context, offset, size int64) (io.ReadCloser, error) // or nil
}

func (l Layer) name() string { return fmt.Sprintf("layer %d", l.Number) }

// Open opens the archive as it is stored. Reading it to its end fails with a MismatchError
// if it isn't what the manifest says. It is never longer than Size.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := l.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name(), err)
	}
	return newChecked(r, l.name(), l.Digest, l.Size), nil
}

// CheckDiff returns a MismatchError unless the digest of the unpacked archive is the one
// that the configuration says.
func (l Layer) CheckDiff(digest string) error {
	if digest != l.DiffID {
		return &MismatchError{l.name(), "diff_id", l.DiffID, digest}
	}
	return nil
}

// Digest is how this package writes a SHA-256: sha256:HEX.
func Digest(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return Digest(sum[:])
}

// A store has the parts of images under their digests.
type store interface {
	// document opens an index, a manifest or a configuration.
	document(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// blob opens a layer.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// blobPart opens a part of a layer. If that isn't possible, the error is an ErrNoRanges.
	blobPart(ctx context.Context, d v1.Descriptor, offset, size int64) (io.ReadCloser, error)
	// referrers lists what may refer to a manifest.
	referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error)
}

// readDocument reads a document and compares it with its descriptor. A size of 0 isn't
// known.
func readDocument(ctx context.Context, s store, what string, d v1.Descriptor) ([]byte, error) {
	if err := checkHash(what, d.Digest); err != nil {
		return nil, err
	}
	if d.Size > MaxDocument || d.Size < 0 {
		return nil, fmt.Errorf("%w: %s: at most %d bytes, found %d", ErrLimit, what, MaxDocument, d.Size)
	}
	r, err := s.document(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, d.Digest, err)
	}
	defer r.Close()
	b, err := readLimited(r, what)
	switch found := digestOf(b); {
	case err != nil:
		return nil, err
	case d.Size != 0 && int64(len(b)) != d.Size:
		return nil, &MismatchError{what, "size", fmt.Sprint(d.Size), fmt.Sprint(len(b))}
	case found != d.Digest.String():
		return nil, &MismatchError{what, "digest", d.Digest.String(), found}
	}
	return b, nil
}

// readLimited reads a document of unknown size.
func readLimited(r io.Reader, what string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err == nil && len(b) > MaxDocument {
		err = fmt.Errorf("%w: %s: at most %d bytes, found more", ErrLimit, what, MaxDocument)
	}
	return b, err
}

// checkHash refuses all but SHA-256.
func checkHash(what string, h v1.Hash) error {
	if h.Algorithm != "sha256" || len(h.Hex) != 2*sha256.Size {
		return imageError("%s: want a digest sha256:HEX, found %q", what, h.String())
	}
	return nil
}

// find follows a descriptor through indexes to the manifest of an image.
func find(ctx context.Context, s store, d v1.Descriptor, o Options) (*Image, error) {
	chosen := false
	for range MaxDepth {
		switch {
		case d.MediaType.IsIndex():
			b, err := readDocument(ctx, s, "index", d)
			if err != nil {
				return nil, err
			}
			index, err := parseIndex(b)
			if err != nil {
				return nil, err
			}
			if index.MediaType != "" && index.MediaType != d.MediaType {
				return nil, imageError("index: it says that its media type is %s, and what refers to it says %s", index.MediaType, d.MediaType)
			}
			if d, err = choose(index.Manifests, o.Platform); err != nil {
				return nil, err
			}
			chosen = true
		case d.MediaType.IsImage():
			b, err := readDocument(ctx, s, "manifest", d)
			if err != nil {
				return nil, err
			}
			i, err := fromManifest(ctx, s, d.MediaType, b)
			if err == nil {
				i.Chosen = chosen && o.Platform == ""
			}
			return i, err
		default:
			return nil, &TypeError{"manifest", d.MediaType}
		}
	}
	return nil, fmt.Errorf("%w: indexes nested more than %d deep", ErrLimit, MaxDepth)
}

func parseIndex(b []byte) (*v1.IndexManifest, error) {
	if err := unambiguous("index", b, "config", "layers"); err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return nil, notJSON("index", err)
	}
	return index, nil
}

// unambiguous refuses a document that might be taken for one of another kind: an index for a
// manifest, or the other way round. Then its digest wouldn't say which image it means.
//
// Source: CVE-2021-41190.
func unambiguous(what string, b []byte, foreign ...string) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return notJSON(what, err)
	}
	for key := range keys {
		if slices.ContainsFunc(foreign, func(f string) bool { return strings.EqualFold(f, key) }) {
			return imageError("%s: it has %q too, so that it might be read as another kind of document", what, key)
		}
	}
	return nil
}

// choose returns the first descriptor for a platform.
func choose(from []v1.Descriptor, platform string) (v1.Descriptor, error) {
	want, err := parsePlatform(platform)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var found []string
	for _, d := range from {
		switch {
		case !d.MediaType.IsIndex() && !d.MediaType.IsImage(), isArtifact(d):
			continue
		case d.Platform == nil, d.Platform.OS == "unknown": // an attestation, for instance
			if len(from) == 1 {
				return d, nil
			}
			continue
		case d.Platform.Satisfies(want):
			return d, nil
		}
		found = append(found, d.Platform.String())
	}
	if len(found) == 0 {
		found = []string{"no platform"}
	}
	return v1.Descriptor{}, &PlatformError{want.String(), found}
}

// isArtifact reports whether a manifest is one of something other than a container image.
// Some programs write the type of an image's configuration as the type of the artifact.
func isArtifact(d v1.Descriptor) bool {
	t := types.MediaType(d.ArtifactType)
	return t != "" && t != types.OCIConfigJSON && t != types.DockerConfigJSON
}

// parsePlatform parses OS/ARCHITECTURE[/VARIANT].
func parsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, nil
	}
	p, err := v1.ParsePlatform(s)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, &SyntaxError{s, "want a platform OS/ARCHITECTURE[/VARIANT], as in linux/arm64"}
	}
	return *p, nil
}

// CheckPlatform returns a *SyntaxError for what is no platform.
func CheckPlatform(s string) error {
	_, err := parsePlatform(s)
	return err
}

// layerTypes are the types of layers that are archives of files.
var layerTypes = []types.MediaType{
	types.OCILayer, types.OCIUncompressedLayer, types.OCILayerZStd,
	types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	types.DockerLayer, types.DockerUncompressedLayer, types.DockerForeignLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.docker.image.rootfs.diff.tar",
}

// fromManifest reads the configuration, and returns the image.
func fromManifest(ctx context.Context, s store, media types.MediaType, b []byte) (*Image, error) {
	if err := unambiguous("manifest", b, "manifests"); err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return nil, notJSON("manifest", err)
	}
	if m.MediaType != "" && m.MediaType != media {
		return nil, imageError("manifest: it says that its media type is %s, and what refers to it says %s", m.MediaType, media)
	}
	if m.Config.MediaType != types.OCIConfigJSON && m.Config.MediaType != types.DockerConfigJSON {
		return nil, &TypeError{"configuration", m.Config.MediaType}
	}
	if len(m.Layers) > MaxLayers {
		return nil, fmt.Errorf("%w: at most %d layers, found %d", ErrLimit, MaxLayers, len(m.Layers))
	}
	config, err := readDocument(ctx, s, "configuration", m.Config)
	if err != nil {
		return nil, err
	}
	i := &Image{MediaType: media, Manifest: b, Digest: digestOf(b), store: s}
	diffs, err := i.setConfig(config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	for n, d := range m.Layers {
		l := Layer{Number: n + 1, MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size, DiffID: diffs[n], Annotations: d.Annotations}
		switch {
		case !slices.Contains(layerTypes, d.MediaType):
			return nil, &TypeError{l.name(), d.MediaType}
		case d.Size < 0:
			return nil, imageError("%s: it has the size %d", l.name(), d.Size)
		}
		if err := checkHash(l.name(), d.Digest); err != nil {
			return nil, err
		}
		l.open = func(ctx context.Context) (io.ReadCloser, error) { return s.blob(ctx, d) }
		l.openPart = func(ctx context.Context, offset, size int64) (io.ReadCloser, error) {
			return s.blobPart(ctx, d, offset, size)
		}
		i.Layers = append(i.Layers, l)
	}
	return i, nil
}

// setConfig takes the configuration of an image with so many layers, and returns its
// diff_ids.
func (i *Image) setConfig(config []byte, layers int) (diffs []string, err error) {
	var c struct {
		v1.Platform
		RootFS *struct {
			DiffIDs []v1.Hash `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, notJSON("configuration", err)
	}
	if c.RootFS == nil {
		return nil, imageError("configuration: it has no rootfs, and so no files")
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, imageError("configuration: want a diff_id for each of %d layers, found %d", layers, len(c.RootFS.DiffIDs))
	}
	for n, id := range c.RootFS.DiffIDs {
		if err := checkHash(fmt.Sprintf("diff_id %d", n+1), id); err != nil {
			return nil, err
		}
		diffs = append(diffs, id.String())
	}
	i.Config, i.ConfigDigest, i.Platform = config, digestOf(config), c.Platform.String()
	return diffs, nil
}

// Open finds an image and reads its manifest and its configuration.
func Open(ctx context.Context, r Reference, o Options) (*Image, error) {
	if err := CheckPlatform(o.Platform); err != nil {
		return nil, err
	}
	var i *Image
	var err error
	switch r.Transport {
	case Layout:
		i, err = openLayout(ctx, r, o)
	case LayoutArchive, DockerArchive:
		i, err = openArchive(ctx, r, o)
	case Registry:
		i, err = openRemote(ctx, r, o)
	default:
		err = errors.New("want a reference from ParseReference, found an empty one")
	}
	if err != nil {
		return nil, err
	}
	if err := i.isFor(o.Platform); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r, err), i.Close())
	}
	return i, nil
}

// isFor returns an error if the image isn't for the platform that was asked for.
func (i *Image) isFor(platform string) error {
	if platform == "" {
		return nil
	}
	want, err := parsePlatform(platform)
	if err != nil {
		return err
	}
	if found, err := v1.ParsePlatform(i.Platform); err != nil || !found.Satisfies(want) {
		return &PlatformError{want.String(), []string{cmp.Or(i.Platform, "no platform")}}
	}
	return nil
}
