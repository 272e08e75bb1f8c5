// Package fsck checks a repository: everything that is in it has the digest that its name
// says, everything that something leads to is there, and what is wrong is told with the
// images and files that it hurts.
//
//	objects ─▶ the kernel's digest, or their content
//	images  ─▶ names, trees, the objects of all files
//	streams ─▶ names, digests of manifests, configurations and layers, what they lead to
//	refs, seals ─▶ what they lead to
package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A Finding is something that is wrong.
type Finding struct {
	Kind    string   `json:"kind"` // object, image, stream, ref, tag, stream-ref, seal or stray
	Name    string   `json:"name"`
	Problem string   `json:"problem"`
	Hurts   []string `json:"hurts,omitempty"` // images and files that need the object: "HEX /path"
	More    int      `json:"more,omitempty"`  // of these, besides
}

// HurtsMax is how many files a Finding names.
const HurtsMax = 8

// A Report says what was checked, and what is wrong. Findings are sorted.
type Report struct {
	Objects    int64     `json:"objects"`
	Unmeasured int64     `json:"without-verity"` // of the objects, whose content was read instead
	Images     int64     `json:"images"`
	Streams    int64     `json:"streams"`
	Refs       int64     `json:"refs"` // to images and to streams
	Seals      int64     `json:"seals"`
	Findings   []Finding `json:"findings"`

	// Lost are the objects that are missing or damaged, with their sizes, -1 if these aren't
	// known.
	Lost map[verity.Digest]int64 `json:"-"`
}

// Options say what is checked.
type Options struct {
	// Metadata leaves out the contents of objects, but not of images and streams.
	Metadata bool
	// Progress, if set, is called with the size of each object, from several goroutines.
	Progress func(size int64)
}

// A checker checks a repository.
type checker struct {
	Options
	ctx    context.Context
	repo   *repo.Repo
	report Report

	mu   sync.Mutex
	bad  map[verity.Digest]*Finding // objects
	rest []Finding
}

// Check checks a repository. Its error is one that kept it from looking; what it found wrong
// is in the Report.
func Check(ctx context.Context, r *repo.Repo, o Options) (Report, error) {
	c := &checker{Options: o, ctx: ctx, repo: r, bad: make(map[verity.Digest]*Finding)}
	c.report.Lost = make(map[verity.Digest]int64)
	for _, step := range []func() error{c.objects, c.images, c.streams, c.refs, c.seals} {
		if err := step(); err != nil {
			return c.report, err
		}
		if ctx.Err() != nil {
			return c.report, context.Cause(ctx)
		}
	}
	c.report.Findings = append([]Finding{}, c.rest...)
	for _, f := range c.bad {
		c.report.Findings = append(c.report.Findings, *f)
	}
	slices.SortFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return c.report, nil
}

// found notes a finding that isn't about an object.
func (c *checker) found(kind, name string, err error) {
	c.rest = append(c.rest, Finding{Kind: kind, Name: name, Problem: err.Error()})
}

// foundObject notes that an object is wrong.
func (c *checker) foundObject(d verity.Digest, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad[d] == nil {
		c.bad[d] = &Finding{Kind: "object", Name: d.Hex(), Problem: err.Error()}
		c.report.Lost[d] = -1
	}
}

// denied reports whether an error is about rights, which fsck itself lacks.
func denied(err error) bool { return errors.Is(err, fs.ErrPermission) }

func (c *checker) objects() error {
	group, ctx := errgroup.WithContext(c.ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	hashers := sync.Pool{New: func() any { return &hasher{verity.NewHasher(c.repo.Meta().Algorithm), make([]byte, 256<<10)} }}
	for f, err := range c.repo.Objects(ctx) {
		if err != nil {
			if first := group.Wait(); first != nil {
				return first // which has ended the listing too
			}
			return err
		}
		switch {
		case f.Leftover():
		case f.Digest.IsZero():
			c.found("stray", f.Path, errors.New("its name isn't one of an object"))
		case !f.Mode.IsRegular():
			c.foundObject(f.Digest, errors.New("it isn't a regular file"))
		default:
			c.report.Objects++
			group.Go(func() error {
				h := hashers.Get().(*hasher)
				defer hashers.Put(h)
				return c.object(h, f)
			})
		}
	}
	return group.Wait()
}

// A hasher is what it takes to hash an object.
type hasher struct {
	*verity.Hasher
	buf []byte
}

// object checks an object. The kernel vouches for one with fs-verity.
func (c *checker) object(h *hasher, f repo.Found) error {
	if c.Progress != nil {
		defer c.Progress(f.Size)
	}
	found, err := c.repo.Measure(f.Digest)
	switch {
	case err == nil && found != f.Digest:
		c.foundObject(f.Digest, fmt.Errorf("its fs-verity digest is %s", found.Hex()))
		return nil
	case err == nil:
		return nil
	case errors.Is(err, verity.ErrNotEnabled), errors.Is(err, verity.ErrUnsupported):
	case denied(err):
		return err
	default:
		c.foundObject(f.Digest, err)
		return nil
	}
	c.mu.Lock()
	c.report.Unmeasured++
	c.mu.Unlock()
	if c.repo.Secure() {
		c.foundObject(f.Digest, errors.New("it has no fs-verity, which meta.json has, and so all objects must have"))
		return nil
	}
	if c.Metadata {
		return nil
	}
	return c.content(h, f)
}

// content hashes an object.
func (c *checker) content(h *hasher, f repo.Found) error {
	file, err := c.repo.OpenObject(f.Digest)
	if denied(err) {
		return err
	}
	if err != nil {
		c.foundObject(f.Digest, err)
		return nil
	}
	defer file.Close()
	found, err := h.SumFile(file, f.Size, h.buf)
	switch {
	case err != nil:
		c.foundObject(f.Digest, fmt.Errorf("it can't be read: %w", err))
	case found != f.Digest:
		c.foundObject(f.Digest, fmt.Errorf("its content has the digest %s", found.Hex()))
	}
	return nil
}

// names calls a function that lists names, and notes files that don't belong there.
func (c *checker) names(list func() ([]string, error)) ([]string, error) {
	names, err := list()
	if stray := (*repo.StrayError)(nil); errors.As(err, &stray) {
		for _, path := range stray.Paths {
			c.found("stray", path, errors.New("it isn't a symbolic link, and so no work of this program"))
		}
		err = nil
	}
	return names, err
}

func (c *checker) images() error {
	names, err := c.names(c.repo.ImageNames)
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		c.report.Images++
		err := c.image(name)
		if denied(err) {
			return err
		}
		if err != nil {
			c.found("image", name, err)
		}
	}
	return nil
}

// image reads an image, and notes which of its files' objects are missing or wrong.
func (c *checker) image(name string) error {
	d, err := c.repo.LookupImage(name)
	if err != nil {
		return err
	}
	f, err := c.repo.OpenImage(d)
	if errors.Is(err, repo.ErrNoImage) {
		c.report.Lost[d] = -1
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// Also with Metadata: below, everything in it is believed.
	if found, err := verity.SumFile(d.Algorithm(), f, st.Size()); err != nil || found != d {
		return errors.Join(fmt.Errorf("its content has the digest %s", found.Hex()), err)
	}
	img, err := erofs.Open(f, st.Size())
	if err != nil {
		return err
	}
	root, err := repo.CheckImage(img, d)
	if err != nil {
		return err
	}
	for path, e := range tree.Walk(root) {
		if object := e.Node.ContentObject(); !e.Link && !object.IsZero() {
			c.needs(object, int64(e.Node.Size), name, path)
		}
	}
	return nil
}

// needs notes that a file of an image needs an object.
func (c *checker) needs(object verity.Digest, size int64, image, path string) {
	if c.bad[object] == nil {
		found, err := c.repo.ObjectSize(object)
		switch {
		case errors.Is(err, repo.ErrNoObject):
			c.foundObject(object, errors.New("it is missing"))
		case err != nil:
			c.foundObject(object, err)
		case found != size:
			c.foundObject(object, fmt.Errorf("want %d bytes, found %d", size, found))
		default:
			return
		}
	}
	c.report.Lost[object] = size
	f := c.bad[object]
	if len(f.Hurts) == HurtsMax {
		f.More++
		return
	}
	f.Hurts = append(f.Hurts, image+" "+path)
}

func (c *checker) streams() error {
	names, err := c.names(c.repo.StreamNames)
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		c.report.Streams++
		err := ocistore.CheckStream(c.ctx, c.repo, name, !c.Metadata)
		if denied(err) {
			return err
		}
		if err != nil {
			c.losesStream(name)
			// Here it is said which stream it is anyway.
			problem := strings.TrimPrefix(err.Error(), ocistore.ErrBroken.Error()+": ")
			c.found("stream", name, errors.New(strings.TrimPrefix(problem, name+": ")))
		}
	}
	return nil
}

// losesStream notes what a stream that is wrong has lost: its own object, or what it leads to.
func (c *checker) losesStream(name string) {
	d, err := c.repo.LookupStream(name)
	if err == nil && !c.repo.HasObject(d) {
		c.report.Lost[d] = -1
	}
	for _, d := range ocistore.Missing(c.repo, name) {
		c.report.Lost[d] = -1
	}
}

func (c *checker) refs() error {
	refs, err := c.names(c.repo.RefNames)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		c.report.Refs++
		if _, err := c.repo.Resolve(ref); err != nil {
			c.found("ref", ref, err)
		}
	}
	tags, err := c.names(c.repo.StreamRefs)
	if err != nil {
		return err
	}
	for _, ref := range tags {
		c.report.Refs++
		name, err := c.repo.LookupStreamRef(ref)
		if err == nil {
			_, err = c.repo.LookupStream(name)
		}
		if tag, ok := ocistore.ParseTagRef(ref); ok && err != nil {
			c.found("tag", tag, err)
		} else if err != nil {
			c.found("stream-ref", ref, err)
		}
	}
	return nil
}

// seals checks what can be checked without keys.
func (c *checker) seals() error {
	images, err := c.repo.Seals()
	if err != nil {
		return err
	}
	for _, d := range images {
		c.report.Seals++
		if err := c.seal(d); err != nil {
			c.found("seal", d.Hex(), err)
		}
	}
	return nil
}

func (c *checker) seal(d verity.Digest) error {
	files, err := c.repo.ReadSeal(d)
	if err != nil {
		return err
	}
	seal, err := sign.ParseSeal(files.Text)
	if err != nil {
		return err
	}
	if of := seal.Statement().Digest; of != d {
		return fmt.Errorf("it is the seal of image %s", of.Hex())
	}
	_, err = c.repo.LookupImage(d.Hex())
	return err
}
