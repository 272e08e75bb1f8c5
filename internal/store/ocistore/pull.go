package ocistore

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// Options say how an image is stored.
type Options struct {
	// Tag is the name that the image gets; "" is none.
	Tag string
	// Bootable makes an image to boot too, as composefs-rs 0.9.4 does.
	Bootable bool
	// Tar has the limits and the rules for the layers. Its Sink isn't used.
	Tar tarball.Options

	// Layer, if set, is called before each layer is read. stored says that it is there.
	Layer func(l oci.Layer, stored bool)
}

// An Image is an EROFS image made of a container image.
type Image struct {
	Digest   verity.Digest
	Format   erofs.Format
	Bootable bool
}

// A Pulled says what Pull has done.
type Pulled struct {
	Manifest, Config string // digests, "sha256:HEX"
	Images           []Image
	Layers           int        // of the container image
	Stored           int        // of the layers that were there already
	Replaced         int        // of the layers that were there and damaged
	Superseded       []Image    // made of it earlier, by other options, and not by these
	Stats            repo.Stats // of objects
}

// A puller stores a container image.
type puller struct {
	Options
	repo    *repo.Repo
	image   *oci.Image
	sink    layerSink
	builder *tarball.Builder
	layers  []storedLayer
	done    Pulled
}

// A storedLayer is a layer whose stream has its name.
type storedLayer struct {
	diffID string
	stream verity.Digest
	size   int64 // of the archive without compression, in bytes
}

// Pull stores a container image, and the EROFS images that it makes in the formats of the
// repository. The errors about layers are *LayerError.
func Pull(ctx context.Context, r *repo.Repo, image *oci.Image, o Options) (Pulled, error) {
	if o.Tag != "" {
		if err := CheckTag(o.Tag); err != nil {
			return Pulled{}, err
		}
	}
	p := &puller{Options: o, repo: r, image: image}
	p.done.Layers = len(image.Layers)
	tar := o.Tar
	tar.Sink = &p.sink
	if o.Bootable {
		tar.Empty = transform.Emptied
	}
	p.builder = tarball.NewBuilder(tar)
	for _, l := range image.Layers {
		if err := p.layer(ctx, l); err != nil {
			return p.done, &LayerError{l.Number, err}
		}
	}
	if err := p.finish(ctx); err != nil {
		return p.done, err
	}
	return p.done, nil
}

// A LayerError is about a layer of an image.
type LayerError struct {
	Number int // from 1
	Err    error
}

func (e *LayerError) Error() string {
	text, layer := e.Err.Error(), fmt.Sprintf("layer %d: ", e.Number)
	if strings.HasPrefix(text, layer) {
		return text
	}
	return layer + text
}

func (e *LayerError) Unwrap() error { return e.Err }

// finish stores everything but the layers.
func (p *puller) finish(ctx context.Context) error {
	stage, err := p.repo.Begin()
	if err != nil {
		return err
	}
	defer stage.Abort()
	if err := p.images(stage, p.builder.Tree()); err != nil {
		return err
	}
	manifest, err := p.manifest()
	if err != nil {
		return err
	}
	config, err := p.putConfig(stage)
	if err != nil {
		return err
	}
	top, err := p.putManifest(stage, manifest, config)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := stage.Commit(); err != nil {
		return err
	}
	p.count(stage)
	for _, i := range p.done.Images {
		if err := p.repo.AddImage(i.Digest); err != nil {
			return err
		}
	}
	name := manifestPrefix + p.done.Manifest
	err = p.repo.SetStream(configPrefix+p.done.Config, config)
	if err == nil {
		err = p.repo.SetStream(name, top)
	}
	if err == nil && p.Tag != "" {
		err = p.repo.SetStreamRef(tagRef(p.Tag), name)
	}
	return err
}

func (p *puller) count(stage *repo.Stage) {
	p.done.Stats.Add(stage.Stats())
}

// images makes the EROFS images.
func (p *puller) images(stage *repo.Stage, root *tree.Node) error {
	if err := transform.OCI(root, transform.AllowlistOnly); err != nil {
		return err
	}
	if err := p.write(stage, root, false); err != nil || !p.Bootable {
		return err
	}
	if err := transform.Release094.Boot(root, source.ObjectContent(p.repo.OpenObject)); err != nil {
		return err
	}
	return p.write(stage, root, true)
}

// write makes the images of a tree in all formats of the repository.
func (p *puller) write(stage *repo.Stage, root *tree.Node, bootable bool) error {
	for _, format := range p.repo.Meta().Formats() {
		d, _, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, format) })
		if err != nil {
			return err
		}
		p.done.Images = append(p.done.Images, Image{d, format, bootable})
	}
	return nil
}

// putConfig stages the configuration and its stream.
func (p *puller) putConfig(stage *repo.Stage) (verity.Digest, error) {
	p.done.Config = p.image.ConfigDigest
	return p.put(stage, splitstream.Config, p.image.Config, func(w *splitstream.Writer) error {
		if err := p.refToLayers(w); err != nil {
			return err
		}
		return p.refToImages(w)
	})
}

// putManifest stages the manifest and its stream.
func (p *puller) putManifest(stage *repo.Stage, manifest []byte, config verity.Digest) (verity.Digest, error) {
	p.done.Manifest = digestOf(manifest)
	return p.put(stage, splitstream.Manifest, manifest, func(w *splitstream.Writer) error {
		if err := w.Ref(configRef+p.done.Config, config); err != nil {
			return err
		}
		return p.refToLayers(w)
	})
}

// put stages a document, and its stream with the refs that refs adds.
func (p *puller) put(stage *repo.Stage, typ splitstream.Type, document []byte, refs func(*splitstream.Writer) error) (verity.Digest, error) {
	content, err := stage.PutBytes(document)
	if err != nil {
		return verity.Digest{}, err
	}
	w, err := splitstream.NewWriter(p.repo.Meta().Algorithm, typ)
	if err != nil {
		return verity.Digest{}, err
	}
	if err := refs(w); err != nil {
		return verity.Digest{}, err
	}
	if err := w.Object(content, int64(len(document))); err != nil {
		return verity.Digest{}, err
	}
	d, _, err := stage.Put(w.Finish)
	return d, err
}

// refToLayers adds a ref to each layer, in the order of the configuration. An image may have
// a layer twice.
func (p *puller) refToLayers(w *splitstream.Writer) error {
	seen := make(map[string]bool, len(p.layers))
	for _, l := range p.layers {
		if seen[l.diffID] {
			continue
		}
		seen[l.diffID] = true
		if err := w.Ref(l.diffID, l.stream); err != nil {
			return err
		}
	}
	return nil
}

// refToImages adds a ref to each EROFS image. Images made earlier of the same configuration,
// for instance to boot from, stay.
func (p *puller) refToImages(w *splitstream.Writer) error {
	refs := p.earlier()
	for _, i := range p.done.Images {
		key := imageKey(i.Format, i.Bootable)
		if had, ok := refs[key]; ok && had != i.Digest {
			p.done.Superseded = append(p.done.Superseded, Image{had, i.Format, i.Bootable})
		}
		refs[key] = i.Digest
	}
	for _, key := range imageKeys {
		d, ok := refs[key]
		if !ok {
			continue
		}
		if err := w.Ref(key, d); err != nil {
			return err
		}
	}
	return nil
}

// earlier returns the refs to images that the configuration has, if it is there, except those
// to images that have gone.
func (p *puller) earlier() map[string]verity.Digest {
	refs := make(map[string]verity.Digest)
	s, err := openStream(p.repo, configPrefix+p.image.ConfigDigest, splitstream.Config)
	if err != nil {
		return refs
	}
	defer s.Close()
	for _, r := range s.Refs {
		if isImageKey(r.Name) && p.repo.HasObject(r.Object) {
			refs[r.Name] = r.Object
		}
	}
	return refs
}
