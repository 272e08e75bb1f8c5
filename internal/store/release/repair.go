package release

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// ErrNotThere is the cause when a release hasn't got an object.
var ErrNotThere = errors.New("the release hasn't got it")

// Repair gets objects of a repository from a release, and puts them in the place of whatever is there.
// Files are found by the names that they have in the repository's images; images by their digests,
// whether or not anybody has sealed them. It returns the ones that it couldn't get, and why.
func Repair(ctx context.Context, r *repo.Repo, i *oci.Image, lost map[verity.Digest]int64, o PullOptions) (map[verity.Digest]error, error) {
	p, err := newPuller(o, r, i)
	if err != nil {
		return nil, err
	}
	defer p.stage.Abort()
	maps.Copy(p.needed, lost)
	if err := p.images(ctx); err != nil {
		return nil, err
	}
	if err := p.nameLost(); err != nil {
		return nil, err
	}
	named := make(map[verity.Digest]bool, len(p.names))
	for _, d := range p.names {
		named[d] = true
	}
	unnamed := make(map[verity.Digest]int64) // which no layer can have
	for d, size := range p.needed {
		if !named[d] {
			unnamed[d] = size
			delete(p.needed, d)
		}
	}
	if err := p.fetch(ctx); err != nil {
		return nil, err
	}
	maps.Copy(p.needed, unnamed)
	missed := make(map[verity.Digest]error)
	for d := range p.needed {
		missed[d] = fmt.Errorf("object %s: %w", d.Hex(), ErrNotThere)
	}
	return missed, p.stage.Commit()
}

// images gets the images that are needed and that the release has.
func (p *puller) images(ctx context.Context) error {
	all, err := p.source.Artifacts(ctx, artifactType)
	if err != nil {
		return err
	}
	for _, a := range all {
		for _, part := range a.Parts {
			if part.MediaType != imageType {
				continue
			}
			for _, text := range part.Annotations {
				d, err := verity.ParseAnyHex(text)
				if _, ok := p.needed[d]; err != nil || !ok {
					continue
				}
				switch err := p.fetchImage(ctx, part, d, fetch.MaxImage); {
				case err == nil:
					p.got(d)
				case !errors.Is(err, fetch.ErrWrong):
					return err
				}
			}
		}
	}
	return nil
}

// nameLost finds out which files of the repository's images have the objects that are needed. An image
// that can't be read names none.
func (p *puller) nameLost() error {
	images, err := p.repo.ImageNames()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(slices.Values(images)) {
		d, err := p.repo.LookupImage(name)
		if err != nil {
			continue
		}
		root, err := p.tree(d)
		if err != nil {
			continue
		}
		for file, e := range tree.Walk(root) {
			if object := e.Node.ContentObject(); !object.IsZero() {
				if size, ok := p.needed[object]; ok && (size < 0 || size == int64(e.Node.Size)) {
					p.needed[object] = int64(e.Node.Size)
					p.names[clean(file)] = object
				}
			}
		}
	}
	return nil
}
