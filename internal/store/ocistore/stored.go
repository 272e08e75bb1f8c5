package ocistore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// A Stored is a container image in a repository, whose manifest and configuration have the
// digests that they should have. Its layers haven't been looked at.
type Stored struct {
	Tag      string // or ""
	Digest   string // of the manifest, "sha256:HEX"
	Manifest []byte
	Config   []byte
	Platform string    // OS/ARCHITECTURE[/VARIANT]; "" of an artifact
	Created  time.Time // zero if it isn't known
	Artifact bool      // it is something other than a container image
	DiffIDs  []string  // of the layers, lowest first
	Images   []Image   // made of it

	layers map[string]verity.Digest // streams by diff_id
	repo   *repo.Repo
}

// A Tagged is a tag and what it means.
type Tagged struct {
	Tag   string
	Image *Stored
	Err   error // why Image is nil
}

// List returns all tags, sorted. A tag whose image can't be read has an error.
func List(r *repo.Repo) ([]Tagged, error) {
	refs, err := r.StreamRefs()
	if err != nil {
		return nil, err
	}
	var all []Tagged
	for _, ref := range refs {
		name, ok := strings.CutPrefix(ref, tagPrefix)
		if !ok {
			continue
		}
		tag, ok := unescapeTag(name)
		if !ok {
			all = append(all, Tagged{Tag: name, Err: broken("streams/refs/%s isn't the file name of a tag", ref)})
			continue
		}
		t := Tagged{Tag: tag}
		t.Image, t.Err = findTag(r, tag)
		if errors.Is(t.Err, fs.ErrPermission) {
			return nil, t.Err
		}
		all = append(all, t)
	}
	return all, nil
}

// Find returns the image with a tag, or with the digest sha256:HEX or @sha256:HEX of its
// manifest.
func Find(r *repo.Repo, name string) (*Stored, error) {
	if digest, ok := parseDigest(name); ok {
		s, err := read(r, digest)
		if errors.Is(err, repo.ErrNoStream) {
			return nil, fmt.Errorf("%w: there is no container image %s", ErrNoTag, digest)
		}
		return s, err
	}
	if err := CheckTag(name); err != nil {
		return nil, err
	}
	return findTag(r, name)
}

// findTag returns the image with a tag, whatever that looks like.
func findTag(r *repo.Repo, name string) (*Stored, error) {
	target, err := r.LookupStreamRef(tagRef(name))
	if errors.Is(err, repo.ErrNoStream) {
		return nil, fmt.Errorf("%w: %q", ErrNoTag, name)
	}
	if err != nil {
		return nil, err
	}
	digest, ok := strings.CutPrefix(target, manifestPrefix)
	if _, is := parseDigest(digest); !ok || !is {
		return nil, broken("the tag %q points to %.300q, not to a manifest", name, target)
	}
	s, err := read(r, digest)
	if errors.Is(err, repo.ErrNoStream) {
		return nil, broken("the tag %q points to %s, which isn't there", name, target)
	}
	if s != nil {
		s.Tag = name
	}
	return s, err
}

// parseDigest accepts sha256:HEX, with or without @.
func parseDigest(name string) (string, bool) {
	name = strings.TrimPrefix(name, "@")
	h, err := v1.NewHash(name)
	return name, err == nil && h.Algorithm == "sha256"
}

// read reads the image whose manifest has a digest.
func read(r *repo.Repo, digest string) (*Stored, error) {
	i := &Stored{Digest: digest, repo: r, layers: make(map[string]verity.Digest)}
	name := manifestPrefix + digest
	s, err := openStream(r, name, splitstream.Manifest)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if i.Manifest, err = s.document(name, digest); err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(i.Manifest))
	if err != nil {
		return nil, broken("%s: %w", name, err)
	}
	for _, ref := range s.Refs {
		if !strings.HasPrefix(ref.Name, configRef) {
			i.layers[ref.Name] = ref.Object
		}
	}
	i.Artifact = m.Config.MediaType != types.OCIConfigJSON && m.Config.MediaType != types.DockerConfigJSON
	config, ok := s.ref(configRef + m.Config.Digest.String())
	if !ok {
		return nil, broken("%s: it has no ref to its configuration %s", name, m.Config.Digest)
	}
	return i, i.readConfig(m, config)
}

// readConfig reads the configuration from the stream whose file is an object.
func (i *Stored) readConfig(m *v1.Manifest, object verity.Digest) error {
	digest := m.Config.Digest.String()
	name := configPrefix + digest
	s, err := openStreamObject(i.repo, name, object, splitstream.Config)
	if err != nil {
		return err
	}
	defer s.Close()
	if i.Config, err = s.document(name, digest); err != nil || i.Artifact {
		return err
	}
	var c struct {
		v1.Platform
		Created time.Time `json:"created"`
		RootFS  struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(i.Config, &c); err != nil {
		return broken("%s: %w", name, err)
	}
	i.Platform, i.Created, i.DiffIDs = c.Platform.String(), c.Created, c.RootFS.DiffIDs
	for _, r := range s.Refs {
		if isImageKey(r.Name) {
			format, bootable := parseImageKey(r.Name)
			i.Images = append(i.Images, Image{r.Object, format, bootable})
		}
	}
	return nil
}

// Image returns the EROFS image that was made of it, in the repository's format if there is one. If
// none of the wanted kind was made, the error is an ErrNotMade.
func (i *Stored) Image(bootable bool) (Image, error) {
	var found []Image
	for _, image := range i.Images {
		if image.Bootable == bootable {
			found = append(found, image)
		}
	}
	if len(found) == 0 {
		return Image{}, fmt.Errorf("%s: %w", i.Digest, ErrNotMade)
	}
	for _, image := range found {
		if image.Format == i.repo.Meta().Format {
			return image, nil
		}
	}
	return found[0], nil
}

// Tree makes the tree of a stored image, as composefs-rs does, from its layers, whose digests
// are checked. Nothing is written.
func (i *Stored) Tree(ctx context.Context, bootable bool, o tarball.Options, content transform.Content) (*tree.Node, error) {
	if i.Artifact {
		return nil, broken("%s is no container image, and has no files", i.Digest)
	}
	o.Sink = directory.NewDigests(i.repo.Meta().Algorithm)
	if bootable {
		o.Empty = transform.Emptied
	}
	b := tarball.NewBuilder(o)
	for n, id := range i.DiffIDs {
		if err := i.layer(ctx, b, id); err != nil {
			return nil, &LayerError{n + 1, err}
		}
	}
	root := b.Tree()
	if err := transform.OCI(root, transform.AllowlistOnly); err != nil || !bootable {
		return root, err
	}
	return root, transform.Release094.Boot(root, content)
}

func (i *Stored) layer(ctx context.Context, b *tarball.Builder, id string) error {
	name := layerPrefix + id
	object, ok := i.layers[id]
	if !ok {
		return broken("manifest %s has no ref to %s", i.Digest, name)
	}
	s, err := openStreamObject(i.repo, name, object, splitstream.Layer)
	if err != nil {
		return err
	}
	defer s.Close()
	return b.Replay(ctx, s.recording())
}

// Tag gives an image a further tag, or takes it from another image.
func Tag(r *repo.Repo, name, tag string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	i, err := Find(r, name)
	if err != nil {
		return err
	}
	return r.SetStreamRef(tagRef(tag), manifestPrefix+i.Digest)
}

// Untag removes a tag. The image stays until garbage is collected.
func Untag(r *repo.Repo, tag string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	err := r.RemoveStreamRef(tagRef(tag))
	if errors.Is(err, repo.ErrNoStream) {
		return fmt.Errorf("%w: %q", ErrNoTag, tag)
	}
	return err
}

// CheckStream reads a stream of a container image whole, and compares what it has with the
// digest in its name. A stream with another name is only read. Objects that aren't right are
// an ErrBroken. With content false, the layers are read without their objects.
func CheckStream(ctx context.Context, r *repo.Repo, name string, content bool) error {
	d, err := r.LookupStream(name)
	if err != nil {
		return err
	}
	prefix, typ := kindOf(name)
	s, err := openStreamObject(r, name, d, typ)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, ref := range s.Refs {
		if !r.HasObject(ref.Object) {
			return broken("%s: what its ref %q needs isn't there, object %s", name, ref.Name, ref.Object.Hex())
		}
		if err := checkNamed(r, prefix, ref); err != nil {
			return broken("%s: %w", name, err)
		}
	}
	digest := strings.TrimPrefix(name, prefix)
	switch prefix {
	case manifestPrefix, configPrefix:
		_, err := s.document(name, digest)
		return err
	case layerPrefix:
		if content {
			return s.checkContent(ctx, name, digest)
		}
	}
	for _, err := range s.Chunks() {
		if err != nil {
			return broken("%s: %w", name, err)
		}
	}
	return ctx.Err()
}

// checkNamed checks that what a container image leads to has its name: other programs look for
// it by that.
func checkNamed(r *repo.Repo, prefix string, ref splitstream.Ref) (err error) {
	switch {
	case prefix != manifestPrefix && prefix != configPrefix:
	case isImageKey(ref.Name):
		_, err = r.LookupImage(ref.Object.Hex())
	case strings.HasPrefix(ref.Name, configRef):
		_, err = r.LookupStream(configPrefix + strings.TrimPrefix(ref.Name, configRef))
	case isDigest(ref.Name):
		_, err = r.LookupStream(layerPrefix + ref.Name)
	}
	return err
}

// Missing returns the objects that a stream leads to and that aren't there. Of a stream that can't
// be read it returns none.
func Missing(r *repo.Repo, name string) (missing []verity.Digest) {
	s, err := openStream(r, name, 0)
	if err != nil {
		return nil
	}
	defer s.Close()
	for _, ref := range s.Refs {
		if !r.HasObject(ref.Object) {
			missing = append(missing, ref.Object)
		}
	}
	for _, d := range s.Objects {
		if !r.HasObject(d) {
			missing = append(missing, d)
		}
	}
	return missing
}

// kindOf returns the prefix of a stream's name, and its type; 0 if any will do: composefs-rs
// stores the blobs of artifacts under the names of layers.
func kindOf(name string) (prefix string, typ splitstream.Type) {
	switch {
	case strings.HasPrefix(name, manifestPrefix):
		return manifestPrefix, splitstream.Manifest
	case strings.HasPrefix(name, configPrefix):
		return configPrefix, splitstream.Config
	case strings.HasPrefix(name, layerPrefix):
		return layerPrefix, 0
	}
	return "", 0
}

// checkContent compares the content of a layer with its diff_id, or the blob of an artifact with
// its digest.
func (s *stream) checkContent(ctx context.Context, name, digest string) error {
	hash := sha256.New()
	if err := s.merge(&until{ctx: ctx, Writer: hash}); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return broken("%s: %w", name, err)
	}
	if found := oci.Digest(hash.Sum(nil)); found != digest {
		return broken("%s: its content has the digest %s", name, found)
	}
	return nil
}

// WriteLayer writes the archive of a layer, without compression. What it writes isn't compared
// with the diff_id.
func (i *Stored) WriteLayer(ctx context.Context, w io.Writer, diffID string) error {
	name := layerPrefix + diffID
	object, ok := i.layers[diffID]
	if !ok {
		return broken("manifest %s has no ref to %s", i.Digest, name)
	}
	s, err := openStreamObject(i.repo, name, object, splitstream.Layer)
	if err != nil {
		return err
	}
	defer s.Close()
	out := &until{ctx: ctx, Writer: w}
	err = s.merge(out)
	if err != nil && out.err == nil {
		return broken("%s: %w", name, err)
	}
	return err
}
