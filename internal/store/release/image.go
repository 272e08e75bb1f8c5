package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci/layer"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// ErrArtifact is the cause when something other than a container image is to be pushed.
var ErrArtifact = errors.New("it is no container image, and has no files")

// FromContainer returns a container image of a repository. Its configuration and its diff_ids
// stay, so it is the same one with another manifest.
func FromContainer(s *ocistore.Stored) (Image, error) {
	if s.Artifact {
		return Image{}, fmt.Errorf("%s: %w", s.Digest, ErrArtifact)
	}
	m, err := v1.ParseManifest(bytes.NewReader(s.Manifest))
	if err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", s.Digest, err)
	}
	i := Image{Config: s.Config, Annotations: m.Annotations, Platform: s.Platform}
	for _, id := range s.DiffIDs {
		i.Layers = append(i.Layers, Archive{id, func(ctx context.Context, w io.Writer) error { return s.WriteLayer(ctx, w, id) }})
	}
	return i, nil
}

// FromImage returns a composefs image of a repository as a container image with one layer, and
// the image's format.
func FromImage(r *repo.Repo, image verity.Digest, platform string) (Image, erofs.Format, error) {
	root, format, err := readTree(r, image)
	if err != nil {
		return Image{}, format, err
	}
	return Image{Platform: platform, Layers: []Archive{{Write: func(ctx context.Context, w io.Writer) error {
		return layer.Write(ctx, w, root, func(d verity.Digest) (io.ReadCloser, error) { return r.OpenVerified(d) })
	}}}}, format, nil
}

// readTree reads an image, whose content must be what its digest says.
func readTree(r *repo.Repo, image verity.Digest) (root *tree.Node, format erofs.Format, err error) {
	f, err := r.OpenObject(image)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	found, err := verity.SumFile(image.Algorithm(), f, st.Size())
	if err == nil {
		err = sign.CheckDigest(image, found)
	}
	if err != nil {
		return nil, 0, err
	}
	img, err := erofs.Open(f, st.Size())
	if err != nil {
		return nil, 0, fmt.Errorf("image %s: %w", image.Hex(), err)
	}
	root, err = repo.CheckImage(img, image)
	if err != nil {
		return nil, 0, fmt.Errorf("image %s: %w", image.Hex(), err)
	}
	return root, img.Header().Version, nil
}
