package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// A Kind is a kind of name in a repository.
type Kind string

// The kinds.
const (
	Ref       Kind = "ref"        // of an image
	Seal      Kind = "seal"       // of an image
	Tag       Kind = "tag"        // of a container image
	StreamRef Kind = "stream-ref" // any other ref to a stream
	Asked     Kind = "asked"      // an image that the caller wants to keep
	Image     Kind = "image"
	Stream    Kind = "stream"
	Leftover  Kind = "leftover" // of a program that was stopped
)

// An Item is something in a repository, and why it stays or goes.
type Item struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func (i Item) String() string { return string(i.Kind) + " " + i.Name }

// Unused is the reason why something goes.
const Unused = "no ref, seal or tag leads to it"

// A Plan says what is garbage.
type Plan struct {
	Roots   []Item // what keeps things; the reasons say what they lead to
	Kept    []Item // images and streams
	Removed []Item
	Objects int64 // that are removed
	Bytes   int64 // of these
	Left    int64 // objects that stay

	unseal          []verity.Digest
	images, streams []string
	objects         []repo.Found
}

// Options say what is kept besides.
type Options struct {
	// Keep has further images that stay, with the reason. They need not be there.
	Keep map[verity.Digest]string
	// Unseal has images whose seals don't count, and are removed.
	Unseal []verity.Digest
	// Everything allows a plan that keeps nothing.
	Everything bool
}

// New makes a plan. It is only good as long as the repository doesn't change: to carry it
// out, call Exclude before. The errors about what is there are *RootError and ErrNoRoot.
func New(ctx context.Context, r *repo.Repo, o Options) (*Plan, error) {
	m := &marker{ctx: ctx, repo: r, live: make(map[verity.Digest]struct{}), images: make(map[verity.Digest]string), streams: make(map[verity.Digest]string)}
	var err error
	if m.known, err = r.ImageNames(); err != nil {
		return nil, err
	}
	if err := m.nameStreams(); err != nil {
		return nil, err
	}
	if err := m.mark(o); err != nil {
		return nil, err
	}
	if len(m.plan.Roots) == 0 && !o.Everything && len(m.known)+len(m.named) > 0 {
		return nil, ErrNoRoot
	}
	if err := m.sweep(); err != nil {
		return nil, err
	}
	return &m.plan, nil
}

// A marker finds what the roots lead to.
type marker struct {
	ctx     context.Context
	repo    *repo.Repo
	plan    Plan
	live    map[verity.Digest]struct{} // objects
	images  map[verity.Digest]string   // images that were read, and why they stay
	streams map[verity.Digest]string   // objects of streams that were read, and why they stay
	named   map[verity.Digest][]string // objects of streams, and their names
	known   []string                   // names in images, sorted
}

// nameStreams finds out which objects the names of streams stand for. A name may lead
// nowhere: an earlier collection by another program may have stopped in between.
func (m *marker) nameStreams() error {
	names, err := m.repo.StreamNames()
	if err != nil {
		return err
	}
	m.named = make(map[verity.Digest][]string, len(names))
	for _, name := range names {
		d, err := m.repo.LookupStream(name)
		if errors.Is(err, repo.ErrNoStream) {
			continue
		}
		if err != nil {
			return err
		}
		m.named[d] = append(m.named[d], name)
	}
	return nil
}

// mark marks what all roots lead to.
func (m *marker) mark(o Options) error {
	refs, err := m.repo.RefNames()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := m.markRef(ref); err != nil {
			return err
		}
	}
	seals, err := m.repo.Seals()
	if err != nil {
		return err
	}
	for _, d := range seals {
		if slices.Contains(o.Unseal, d) {
			m.plan.unseal = append(m.plan.unseal, d)
			m.plan.Removed = append(m.plan.Removed, Item{Seal, d.Hex(), "it was asked for"})
			continue
		}
		// A seal may be older than what it was made for, or have outlived it.
		if err := m.markIfThere(Item{Seal, d.Hex(), ""}, d, "it is sealed"); err != nil {
			return err
		}
	}
	for _, d := range slices.SortedFunc(maps.Keys(o.Keep), verity.Digest.Compare) {
		if err := m.markIfThere(Item{Asked, d.Hex(), ""}, d, o.Keep[d]); err != nil {
			return err
		}
	}
	return m.markStreamRefs()
}

func (m *marker) markRef(ref string) error {
	root := Item{Ref, ref, ""}
	d, err := m.repo.LookupRef(ref)
	if err == nil {
		root.Reason = "leads to image " + d.Hex()
		_, err = m.repo.LookupImage(d.Hex())
	}
	if err == nil {
		err = m.image(d, "ref "+ref+" leads to it")
	}
	return m.root(root, err)
}

// markIfThere marks an image unless there is nothing of it. One that has only lost its name is
// an error.
func (m *marker) markIfThere(root Item, d verity.Digest, reason string) error {
	if _, there := slices.BinarySearch(m.known, d.Hex()); !there && !m.repo.HasObject(d) {
		return nil
	}
	root.Reason = "leads to image " + d.Hex()
	_, err := m.repo.LookupImage(d.Hex())
	if err == nil {
		err = m.image(d, reason)
	}
	return m.root(root, err)
}

func (m *marker) markStreamRefs() error {
	refs, err := m.repo.StreamRefs()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		root := streamRoot(ref)
		name, err := m.repo.LookupStreamRef(ref)
		var d verity.Digest
		if err == nil {
			root.Reason = "leads to stream " + name
			d, err = m.repo.LookupStream(name)
		}
		if err == nil {
			// A name that leads to another stream would hide what it needs.
			err = ocistore.CheckStream(m.ctx, m.repo, name, false)
		}
		if err == nil {
			err = m.stream(d, root.String()+" leads to it")
		}
		if err := m.root(root, err); err != nil {
			return err
		}
	}
	return nil
}

// streamRoot returns the root that a ref to a stream is.
func streamRoot(ref string) Item {
	if tag, ok := ocistore.ParseTagRef(ref); ok {
		return Item{Tag, tag, ""}
	}
	return Item{StreamRef, ref, ""}
}

// root notes a root, or explains an error about what it leads to.
func (m *marker) root(root Item, err error) error {
	if err == nil {
		m.plan.Roots = append(m.plan.Roots, root)
		return nil
	}
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w", root, err)
	}
	return &RootError{root, err}
}

// Roots returns the roots of a repository without following them: the reason of each says what
// it leads to, or why that can't be told.
func Roots(r *repo.Repo) ([]Item, error) {
	roots := []Item{}
	refs, err := r.RefNames()
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		d, err := r.LookupRef(ref)
		if err == nil {
			_, err = r.LookupImage(d.Hex())
		}
		roots = append(roots, Item{Ref, ref, leadsTo("image "+d.Hex(), err)})
	}
	seals, err := r.Seals()
	if err != nil {
		return nil, err
	}
	for _, d := range seals {
		_, err := r.LookupImage(d.Hex())
		roots = append(roots, Item{Seal, d.Hex(), leadsTo("image "+d.Hex(), err)})
	}
	tags, err := r.StreamRefs()
	if err != nil {
		return nil, err
	}
	for _, ref := range tags {
		name, err := r.LookupStreamRef(ref)
		if err == nil {
			_, err = r.LookupStream(name)
		}
		root := streamRoot(ref)
		root.Reason = leadsTo("stream "+name, err)
		roots = append(roots, root)
	}
	return roots, nil
}

func leadsTo(what string, err error) string {
	if err != nil {
		return "leads nowhere: " + err.Error()
	}
	return "leads to " + what
}

// image marks an image, which must be there, and its objects. If one of these is missing,
// that hides nothing.
func (m *marker) image(d verity.Digest, reason string) error {
	if _, done := m.images[d]; done {
		return nil
	}
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	m.images[d] = reason
	m.live[d] = struct{}{}
	f, err := m.repo.OpenObject(d)
	if err != nil {
		return fmt.Errorf("image %s: %w", d.Hex(), err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if found, err := verity.SumFile(d.Algorithm(), f, st.Size()); err != nil || found != d {
		return fmt.Errorf("image %s: %w", d.Hex(), errors.Join(err, verity.ErrMismatch))
	}
	img, err := erofs.Open(f, st.Size())
	if err != nil {
		return fmt.Errorf("image %s: %w", d.Hex(), err)
	}
	for object, err := range img.Objects() {
		if err != nil {
			return fmt.Errorf("image %s: %w", d.Hex(), err)
		}
		m.live[object] = struct{}{}
	}
	return nil
}

// stream marks a stream, its objects, and what its named refs lead to.
func (m *marker) stream(d verity.Digest, reason string) error {
	if _, done := m.streams[d]; done {
		return nil
	}
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	m.streams[d] = reason
	m.live[d] = struct{}{}
	s, err := m.open(d)
	if err != nil {
		return err
	}
	for _, object := range s.Objects {
		m.live[object] = struct{}{}
	}
	for _, ref := range s.Refs {
		if err := m.refTo(ref, reason); err != nil {
			return err
		}
	}
	return nil
}

// refTo marks what a named ref leads to: an image, a stream, or any other object.
func (m *marker) refTo(ref splitstream.Ref, reason string) error {
	if strings.HasPrefix(ref.Name, "composefs.image") {
		return m.image(ref.Object, reason)
	}
	if _, ok := m.named[ref.Object]; ok {
		return m.stream(ref.Object, reason)
	}
	if !m.repo.HasObject(ref.Object) {
		return fmt.Errorf("ref %q: %w: %s", ref.Name, repo.ErrNoObject, ref.Object.Hex())
	}
	m.live[ref.Object] = struct{}{}
	// A stream without a name, or with another one since, may lead to more.
	if _, err := m.open(ref.Object); errors.Is(err, splitstream.ErrFormat) {
		return nil
	}
	return m.stream(ref.Object, reason)
}

// open opens a stream, whose file must have its digest. The chunks can't be read.
func (m *marker) open(d verity.Digest) (*splitstream.Reader, error) {
	f, err := m.repo.OpenObject(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if found, err := verity.SumFile(d.Algorithm(), f, st.Size()); err != nil || found != d {
		return nil, fmt.Errorf("stream %s: %w", m.nameOf(d), errors.Join(err, verity.ErrMismatch))
	}
	s, err := splitstream.Open(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", m.nameOf(d), err)
	}
	return s, nil
}

// nameOf returns what a stream is called, which is the digest of its object if it has no name.
func (m *marker) nameOf(d verity.Digest) string {
	if names := m.named[d]; len(names) > 0 {
		return names[0]
	}
	return d.Hex()
}

// sweep finds what isn't marked.
func (m *marker) sweep() error {
	for _, name := range m.known {
		d, err := m.repo.LookupImage(name)
		if err != nil && !errors.Is(err, repo.ErrNoImage) {
			return err
		}
		reason, kept := m.images[d]
		if m.decide(Item{Image, name, reason}, kept && err == nil) {
			m.plan.images = append(m.plan.images, name)
		}
	}
	streams, err := m.repo.StreamNames()
	if err != nil {
		return err
	}
	for _, name := range streams {
		d, err := m.repo.LookupStream(name)
		if err != nil && !errors.Is(err, repo.ErrNoStream) {
			return err
		}
		reason, kept := m.streams[d]
		if m.decide(Item{Stream, name, reason}, kept && err == nil) {
			m.plan.streams = append(m.plan.streams, name)
		}
	}
	return m.sweepObjects()
}

// decide notes that something stays or goes, and returns true if it goes.
func (m *marker) decide(i Item, kept bool) bool {
	if kept {
		m.plan.Kept = append(m.plan.Kept, i)
		return false
	}
	i.Reason = Unused
	m.plan.Removed = append(m.plan.Removed, i)
	return true
}

func (m *marker) sweepObjects() error {
	for f, err := range m.repo.Objects(m.ctx) {
		if err != nil {
			return err
		}
		_, live := m.live[f.Digest]
		switch {
		case f.Leftover():
			m.plan.Removed = append(m.plan.Removed, Item{Leftover, f.Path, "a program that was stopped has left it"})
		case live || f.Digest.IsZero() || f.Mode.IsDir(): // whatever else there is isn't ours to remove
			m.plan.Left++
			continue
		}
		m.plan.Objects++
		m.plan.Bytes += f.Size
		m.plan.objects = append(m.plan.objects, f)
	}
	return nil
}

// Unsealed returns the names of the images whose seals are removed.
func (p *Plan) Unsealed() (names []string) {
	for _, d := range p.unseal {
		names = append(names, d.Hex())
	}
	return names
}

// Apply carries the plan out. The process must have called Exclude before the plan was made.
func (p *Plan) Apply(ctx context.Context, r *repo.Repo) error {
	for _, d := range p.unseal {
		if err := r.RemoveSeal(d); err != nil {
			return err
		}
	}
	if err := r.RemoveNames(p.images, p.streams); err != nil {
		return err
	}
	r.Sweep()
	for _, f := range p.objects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.RemoveObject(f); err != nil {
			return err
		}
	}
	return nil
}
