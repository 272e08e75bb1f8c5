package ocistore

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// Copy copies a stored image to another repository by the same hash: its streams, its EROFS images
// and all objects. Those that are missing there, or damaged, are copied and hashed; on one file
// system they share their blocks if that can be done. tag, unless it is "", is the image's tag
// there; it comes last. progress, if it isn't nil, is called with the size of each object, from
// several goroutines.
func (i *Stored) Copy(ctx context.Context, to *repo.Repo, tag string, progress func(int64)) (repo.Stats, error) {
	if tag != "" {
		if err := CheckTag(tag); err != nil {
			return repo.Stats{}, err
		}
	}
	if from := i.repo.Meta().Algorithm; from != to.Meta().Algorithm {
		return repo.Stats{}, fmt.Errorf("%w: want objects by %v, found %v", repo.ErrOther, from, to.Meta().Algorithm)
	}
	stage, err := to.Begin()
	if err != nil {
		return repo.Stats{}, err
	}
	defer stage.Abort()
	c := &copying{from: i.repo, stage: stage, progress: progress, objects: make(map[verity.Digest]struct{})}
	names, err := c.streams(i)
	if err == nil {
		err = c.images(i.Images)
	}
	if err == nil {
		err = c.copy(ctx)
	}
	stats := stage.Stats()
	if committed := stage.Commit(); err != nil || committed != nil {
		return stats, errors.Join(err, committed)
	}
	for _, image := range i.Images {
		if err := to.AddImage(image.Digest); err != nil {
			return stats, err
		}
	}
	for _, n := range names {
		if err := to.SetStream(n.name, n.object); err != nil {
			return stats, err
		}
	}
	if tag == "" {
		return stats, nil
	}
	return stats, to.SetStreamRef(tagRef(tag), manifestPrefix+i.Digest)
}

// copying is what belongs to an image.
type copying struct {
	from     *repo.Repo
	stage    *repo.Stage
	progress func(int64)
	objects  map[verity.Digest]struct{}
}

// A named stream and its object.
type named struct {
	name   string
	object verity.Digest
}

// streams adds the streams of an image with their objects, and returns their names in the order in
// which they may become names: the manifest is the last.
func (c *copying) streams(i *Stored) ([]named, error) {
	name := manifestPrefix + i.Digest
	top, err := i.repo.LookupStream(name)
	if err != nil {
		return nil, err
	}
	refs, err := c.stream(named{name, top}, splitstream.Manifest)
	if err != nil {
		return nil, err
	}
	var all []named
	for _, r := range refs {
		n, typ := named{layerPrefix + r.Name, r.Object}, splitstream.Type(0)
		if digest, ok := cutConfigRef(r.Name); ok {
			n.name, typ = configPrefix+digest, splitstream.Config
		}
		if _, err := c.stream(n, typ); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return append(all, named{name, top}), nil
}

// stream adds a stream with its objects.
func (c *copying) stream(n named, typ splitstream.Type) ([]splitstream.Ref, error) {
	s, err := openStreamObject(c.from, n.name, n.object, typ)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	c.objects[n.object] = struct{}{}
	for _, d := range s.Objects {
		c.objects[d] = struct{}{}
	}
	return s.Refs, nil
}

// images adds EROFS images with their objects.
func (c *copying) images(images []Image) error {
	for _, i := range images {
		if err := c.image(i.Digest); err != nil {
			return err
		}
	}
	return nil
}

func (c *copying) image(d verity.Digest) error {
	f, err := c.from.OpenObject(d)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := repo.ReadTree(f, d)
	if err != nil {
		return err
	}
	c.objects[d] = struct{}{}
	for _, e := range tree.Walk(root) {
		if object := e.Node.ContentObject(); !object.IsZero() {
			c.objects[object] = struct{}{}
		}
	}
	return nil
}

// copy copies the objects that are missing or damaged.
func (c *copying) copy(ctx context.Context) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for d := range c.objects {
		if within.Err() != nil {
			break
		}
		group.Go(func() error { return c.object(d) })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *copying) object(d verity.Digest) error {
	size, err := c.from.ObjectSize(d)
	if err != nil {
		return broken("object %s: %w", d.Hex(), err)
	}
	if c.stage.Holds(d, size) {
		return nil
	}
	f, err := c.from.OpenObject(d)
	if err != nil {
		return err
	}
	defer f.Close()
	err = c.stage.PutFileAs(d, f, size)
	if errors.Is(err, verity.ErrMismatch) {
		return broken("object %s: %w", d.Hex(), err)
	}
	if err == nil && c.progress != nil {
		c.progress(size)
	}
	return err
}
