package release

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// ErrLayers is the cause when the layers of a release don't make its sealed image.
var ErrLayers = errors.New("the layers don't make the sealed image")

// Check makes the image again of all layers: of their files as they are, as mkimage build does of
// an archive, or as composefs-rs makes images of container images. If none of these is the sealed
// image, which Pull has stored, the error is an ErrLayers; differs has been called then with the
// tree of the sealed image and, for each way, the tree that it makes. tar has the limits and the
// rules for layers; its Sink isn't used.
func (s *Sealed) Check(ctx context.Context, r *repo.Repo, tar tarball.Options, differs func(sealed, made *tree.Node)) error {
	sealed, _, err := readTree(r, s.Digest)
	if err != nil {
		return err
	}
	tar.Sink = directory.NewDigests(s.Digest.Algorithm())
	root, err := s.layers(ctx, tar)
	if err != nil {
		return err
	}
	for _, change := range []func(*tree.Node) error{
		func(*tree.Node) error { return nil },
		func(root *tree.Node) error { return transform.OCI(root, transform.AllowlistOnly) },
		func(root *tree.Node) error {
			return transform.Release094.Boot(root, source.ObjectContent(r.OpenObject))
		},
	} {
		if err := change(root); err != nil {
			break // it isn't made in that way
		}
		h := verity.NewHasher(s.Digest.Algorithm())
		if err := erofs.Write(h, root, s.Format); err != nil {
			return err
		}
		if h.Sum() == s.Digest {
			return nil
		}
		differs(sealed, root)
	}
	return fmt.Errorf("image %s: %w", s.Digest.Hex(), ErrLayers)
}

// layers returns the tree of all layers, whose content must be what the image says.
func (s *Sealed) layers(ctx context.Context, tar tarball.Options) (*tree.Node, error) {
	b := tarball.NewBuilder(tar)
	for _, l := range s.source.Layers {
		if err := apply(ctx, b, l); err != nil {
			return nil, &ocistore.LayerError{Number: l.Number, Err: err}
		}
	}
	return b.Tree(), nil
}

func apply(ctx context.Context, b *tarball.Builder, l oci.Layer) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	unpacked := sha256.New()
	err = b.ApplyTee(ctx, r, unpacked)
	if err != nil && !errors.Is(err, tarball.ErrArchive) {
		return err
	}
	// A blob that isn't what the manifest says may be why it is no archive.
	if _, wrong := io.Copy(io.Discard, r); wrong != nil {
		return wrong
	}
	if err != nil {
		return err
	}
	return l.CheckDiff(oci.Digest(unpacked.Sum(nil)))
}
