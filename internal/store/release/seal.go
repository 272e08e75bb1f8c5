package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/oci/chunked"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// The types of the artifact and of its parts. The first one is composefs-rs's.
const (
	artifactType                   = "application/vnd.composefs.metadata.v1"
	imageType      types.MediaType = "application/vnd.composefs-go.image.v1.erofs+zstd"
	sealType       types.MediaType = "application/vnd.composefs-go.seal.v1"
	signatureType  types.MediaType = "application/vnd.composefs-go.seal.v1.minisig"
	emptyType      types.MediaType = "application/vnd.oci.empty.v1+json"
	emptyDocument                  = "{}"
	titleKey                       = "org.opencontainers.image.title"
	mergedPrefix                   = "composefs.merged.erofs.v"
	bootablePrefix                 = "composefs.merged.bootable.erofs.v"
)

// ErrNoSeal is the cause when an image that is to be pushed as a sealed one isn't sealed.
var ErrNoSeal = errors.New("it isn't sealed")

// A NoSealError is about an image that isn't sealed. It wraps ErrNoSeal.
type NoSealError struct {
	Image  verity.Digest
	Reason string // or ""
}

func (e *NoSealError) Error() string {
	text := fmt.Sprintf("image %s: %v", e.Image.Hex(), ErrNoSeal)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (e *NoSealError) Unwrap() error { return ErrNoSeal }

// A Composefs is an image of a container image.
type Composefs struct {
	Digest   verity.Digest
	Format   erofs.Format
	Bootable bool
}

// digestKey is the annotation that has the digest of an image, as composefs-rs's plan for such
// artifacts has it.
func digestKey(prefix string, a verity.Algorithm) string {
	return fmt.Sprintf("%sfsverity-%s-12", prefix, a.Hash())
}

func (c Composefs) key() string {
	prefix := mergedPrefix
	if c.Bootable {
		prefix = bootablePrefix
	}
	return digestKey(fmt.Sprintf("%s%d.", prefix, c.Format), c.Digest.Algorithm())
}

// PushSeal puts an image of the repository with its seal to a destination, as an artifact that
// refers to the container image that Push has put there. The seal isn't verified.
func PushSeal(ctx context.Context, r *repo.Repo, c Composefs, pushed Pushed, to oci.Destination) (oci.Manifest, error) {
	seal, err := r.ReadSeal(c.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return oci.Manifest{}, &NoSealError{Image: c.Digest}
	}
	if err != nil {
		return oci.Manifest{}, err
	}
	if _, err := sign.ParseSeal(seal.Text); err != nil {
		return oci.Manifest{}, fmt.Errorf("image %s: %w", c.Digest.Hex(), err)
	}
	if len(seal.Signatures) == 0 {
		return oci.Manifest{}, &NoSealError{c.Digest, "the seal has no signature"}
	}
	m := c.manifest(pushed)
	add := func(b oci.Blob, annotations map[string]string) error {
		_, err := to.PutBlob(ctx, b)
		m.Layers = append(m.Layers, describe(b, annotations))
		return err
	}
	if err := c.putImage(ctx, r, add); err != nil {
		return oci.Manifest{}, err
	}
	text := sign.TextFile(c.Digest)
	if err := add(document(sealType, seal.Text), map[string]string{titleKey: text.Name()}); err != nil {
		return oci.Manifest{}, err
	}
	for _, f := range slices.SortedFunc(maps.Keys(seal.Signatures), sign.File.Compare) {
		if err := add(document(signatureType, seal.Signatures[f]), map[string]string{titleKey: f.Name()}); err != nil {
			return oci.Manifest{}, err
		}
	}
	if _, err := to.PutBlob(ctx, document(emptyType, []byte(emptyDocument))); err != nil {
		return oci.Manifest{}, err
	}
	artifact, err := m.render("")
	if err != nil {
		return oci.Manifest{}, err
	}
	return artifact, to.PutManifest(ctx, artifact, false)
}

// manifest returns the artifact's manifest, without its parts.
func (c Composefs) manifest(pushed Pushed) manifest {
	subject := pushed.Manifest
	algorithm := c.Digest.Algorithm()
	return manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType,
		Config:  describe(document(emptyType, []byte(emptyDocument)), nil),
		Subject: &descriptor{MediaType: subject.MediaType, Digest: subject.Digest(), Size: int64(len(subject.Content))},
		Annotations: map[string]string{
			digestKey("composefs.manifest.", algorithm): verity.Sum(algorithm, subject.Content).Hex(),
			digestKey("composefs.config.", algorithm):   verity.Sum(algorithm, pushed.config).Hex(),
		},
	}
}

// putImage puts the bytes of the image, compressed.
func (c Composefs) putImage(ctx context.Context, r *repo.Repo, add func(oci.Blob, map[string]string) error) error {
	image, err := r.OpenVerified(c.Digest)
	if err != nil {
		return err
	}
	defer image.Close()
	file, err := osfile.Unnamed(os.TempDir())
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := chunked.Plain(file, image); err != nil {
		return err
	}
	b, err := fileBlob(imageType, file)
	if err != nil {
		return err
	}
	return add(b, map[string]string{titleKey: c.Digest.Hex() + ".erofs.zst", c.key(): c.Digest.Hex()})
}
