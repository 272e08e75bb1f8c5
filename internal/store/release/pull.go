package release

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/oci/chunked"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const (
	// workers is how many requests there are at once.
	workers = 4
	// gap is how many bytes that aren't needed are fetched to save a request.
	gap = 64 << 10
	// requestMax is about how large a request may become by that, in bytes.
	requestMax = 4 << 20
	// durable is after how many bytes, as they are stored in the release, objects get their names:
	// what is killed, or loses its power, needs not fetch them again.
	durable = 16 << 20
)

// ErrIncomplete is the cause when a release lacks files of its image.
var ErrIncomplete = errors.New("the layers of the release lack files of its image")

// A Pulled says what Pull has done.
type Pulled struct {
	Stats    repo.Stats // Present are the objects that didn't have to be fetched
	Objects  int        // of the image, with its own
	Moved    int64      // bytes of the release that were fetched, as they are stored
	Size     int64      // of all layers, as they are stored
	Requests int        // for parts of layers
	Whole    int        // layers that were read from their beginning
}

// PullOptions say how an image is taken out of a release.
type PullOptions struct {
	// Whole, if set, is called when whole layers have to be read, with the reason.
	Whole func(reason error)
	// Progress, if set, is called with the size of each object that was stored, from several
	// goroutines.
	Progress func(size int64)
}

// A puller fetches what a repository lacks.
type puller struct {
	PullOptions
	repo   *repo.Repo
	stage  *repo.Stage
	source *oci.Image
	moved  atomic.Int64
	done   Pulled

	mu     sync.Mutex
	needed map[verity.Digest]int64  // sizes of the objects that are missing
	names  map[string]verity.Digest // of files that have them
	why    error                    // whole layers have to be read
}

// Pull stores the image with its seal. If it fails or is interrupted, the objects that it has
// fetched so far stay.
func (s *Sealed) Pull(ctx context.Context, r *repo.Repo, o PullOptions) (Pulled, error) {
	p, err := newPuller(o, r, s.source)
	if err != nil {
		return Pulled{}, err
	}
	defer p.stage.Abort()
	err = p.pull(ctx, s)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	p.done.Moved, p.done.Stats = p.moved.Load(), p.stage.Stats()
	if committed := p.stage.Commit(); err != nil || committed != nil {
		return p.done, errors.Join(err, committed)
	}
	if err := r.AddImage(s.Digest); err != nil {
		return p.done, err
	}
	return p.done, nil
}

func newPuller(o PullOptions, r *repo.Repo, source *oci.Image) (*puller, error) {
	stage, err := r.Begin()
	p := &puller{PullOptions: o, repo: r, stage: stage, source: source, needed: make(map[verity.Digest]int64), names: make(map[string]verity.Digest)}
	for _, l := range source.Layers {
		p.done.Size += l.Size
	}
	return p, err
}

func (p *puller) pull(ctx context.Context, s *Sealed) error {
	root, err := p.image(ctx, s)
	if err != nil {
		return err
	}
	if err := p.plan(root, s.Digest); err != nil {
		return err
	}
	if err := p.fetch(ctx); err != nil || len(p.needed) == 0 {
		return err
	}
	return p.incomplete()
}

// fetch stores what is needed, as far as the layers have it.
func (p *puller) fetch(ctx context.Context) error {
	if len(p.needed) == 0 {
		return nil
	}
	layers := slices.Clone(p.source.Layers)
	slices.Reverse(layers) // what is on top counts
	if err := p.byTables(ctx, layers); err != nil {
		return err
	}
	if len(p.needed) == 0 {
		return nil
	}
	if p.Whole != nil && p.why != nil {
		p.Whole(p.why)
	}
	for _, l := range layers {
		if err := p.whole(ctx, l); err != nil {
			return &ocistore.LayerError{Number: l.Number, Err: err}
		}
		if len(p.needed) == 0 {
			return nil
		}
	}
	return nil
}

// incomplete names a file that the release lacks.
func (p *puller) incomplete() error {
	for _, name := range slices.Sorted(maps.Keys(p.names)) {
		if _, ok := p.needed[p.names[name]]; ok {
			return fmt.Errorf("%w: %d, the first is /%s (object %s)", ErrIncomplete, len(p.needed), name, p.names[name].Hex())
		}
	}
	return ErrIncomplete
}

// image stores the image's own object unless it is there, and returns its tree.
func (p *puller) image(ctx context.Context, s *Sealed) (*tree.Node, error) {
	size, err := p.repo.ObjectSize(s.Digest)
	if err != nil || !p.stage.Holds(s.Digest, size) {
		most := int64(fetch.MaxImage)
		if said := s.Verdict.Statement.Size; said > 0 && said < uint64(most) {
			most = int64(said)
		}
		if err := p.fetchImage(ctx, s.part, s.Digest, most); err != nil {
			return nil, err
		}
	}
	return p.tree(s.Digest)
}

// tree returns the tree of an image that is staged or in the repository.
func (p *puller) tree(d verity.Digest) (*tree.Node, error) {
	f, err := p.stage.Open(d)
	if err != nil {
		f, err = p.repo.OpenObject(d)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return repo.ReadTree(f, d)
}

// fetchImage fetches an image's own object.
func (p *puller) fetchImage(ctx context.Context, part oci.Part, d verity.Digest, most int64) error {
	r, err := part.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	z, err := chunked.NewReader(&counted{r, &p.moved})
	if err != nil {
		return err
	}
	defer z.Close()
	if err := p.store(d, z, most); err != nil {
		return fmt.Errorf("image %s: %w", d.Hex(), err)
	}
	return nil
}

// store puts an object, whose content must have its digest and at most a size.
func (p *puller) store(d verity.Digest, r io.Reader, most int64) error {
	var n int64
	err := p.stage.PutAs(d, func(w io.Writer) (err error) {
		n, err = io.Copy(w, io.LimitReader(r, most+1))
		if err == nil && n > most {
			err = fmt.Errorf("%w: want at most %d bytes, found more", fetch.ErrWrong, most)
		}
		return err
	})
	if errors.Is(err, verity.ErrMismatch) {
		err = fmt.Errorf("%w: %w", fetch.ErrWrong, err)
	}
	if err == nil && p.Progress != nil {
		p.Progress(n)
	}
	return err
}

// plan finds out which objects are missing, and which files have them.
func (p *puller) plan(root *tree.Node, image verity.Digest) error {
	sizes := make(map[verity.Digest]int64)
	for name, e := range tree.Walk(root) {
		d := e.Node.ContentObject()
		if d.IsZero() {
			continue
		}
		if d.Algorithm() != image.Algorithm() {
			return fmt.Errorf("image %s: want objects by %v, found %v", image.Hex(), image.Algorithm(), d)
		}
		sizes[d] = int64(e.Node.Size)
		p.names[clean(name)] = d
	}
	p.done.Objects = 1 + len(sizes)
	group := errgroup.Group{}
	group.SetLimit(workers)
	for d, size := range sizes {
		group.Go(func() error {
			if !p.stage.Holds(d, size) {
				p.mu.Lock()
				p.needed[d] = size
				p.mu.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

// clean returns the name of a file as all archives and images would have it.
func clean(name string) string { return strings.TrimPrefix(path.Join("/", name), "/") }

// need returns the missing object that a file of a size has in the image.
func (p *puller) need(name string, size int64) (verity.Digest, bool) {
	d, ok := p.names[clean(name)]
	if !ok {
		return d, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	want, ok := p.needed[d]
	return d, ok && want == size
}

func (p *puller) got(d verity.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.needed, d)
}

// A wanted is a file whose object is missing.
type wanted struct {
	chunked.File
	object verity.Digest
}

// byTables fetches what the tables of contents lead to.
func (p *puller) byTables(ctx context.Context, layers []oci.Layer) error {
	taken := make(map[verity.Digest]bool)
	for _, l := range layers {
		if !p.hasRanges() || !p.needsMore(taken) {
			break
		}
		files, err := p.table(ctx, l)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			p.because(err)
			continue
		}
		var want []wanted
		for _, f := range files {
			if d, ok := p.need(f.Name, f.Size); ok && !taken[d] {
				taken[d] = true
				want = append(want, wanted{f, d})
			}
		}
		if err := p.parts(ctx, l, want); err != nil {
			return &ocistore.LayerError{Number: l.Number, Err: err}
		}
	}
	return nil
}

// needsMore reports whether objects are missing that no table has led to.
func (p *puller) needsMore(taken map[verity.Digest]bool) bool {
	for d := range p.needed {
		if !taken[d] {
			return true
		}
	}
	return false
}

// table reads the table of contents of a layer.
func (p *puller) table(ctx context.Context, l oci.Layer) ([]chunked.File, error) {
	at, ok, err := chunked.ParsePosition(l.Annotations, l.Size)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, chunked.ErrNoTable
	}
	r, err := l.OpenPart(ctx, at.Offset, at.Length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p.done.Requests++
	b, err := io.ReadAll(&counted{r, &p.moved})
	if err != nil {
		return nil, err
	}
	return chunked.Parse(b, at, l.Size)
}

// parts fetches files of a layer. Ones that are near to each other take one request.
func (p *puller) parts(ctx context.Context, l oci.Layer, want []wanted) error {
	slices.SortFunc(want, func(a, b wanted) int { return int(min(1, max(-1, a.Offset-b.Offset))) })
	for len(want) > 0 && p.hasRanges() {
		n, err := p.batch(ctx, l, want)
		if err != nil {
			return err
		}
		if err := p.stage.Checkpoint(); err != nil {
			return err
		}
		want = want[n:]
	}
	return nil
}

// batch fetches the first files, and returns how many.
func (p *puller) batch(ctx context.Context, l oci.Layer, want []wanted) (done int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for size := int64(0); done < len(want) && size < durable && p.hasRanges(); {
		rest := want[done:]
		n, end := 1, rest[0].End
		for n < len(rest) && rest[n].Offset >= end && rest[n].Offset-end <= gap && rest[n].End-rest[0].Offset <= requestMax {
			end = rest[n].End
			n++
		}
		done, size = done+n, size+end-rest[0].Offset
		p.done.Requests++
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return p.part(ctx, l, rest[:n], end)
		})
	}
	return done, group.Wait()
}

// part fetches files by one request. The ones that aren't what they should be stay needed.
func (p *puller) part(ctx context.Context, l oci.Layer, want []wanted, end int64) error {
	at := want[0].Offset
	body, err := l.OpenPart(ctx, at, end-at)
	if errors.Is(err, oci.ErrNoRanges) {
		p.because(err)
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	r := &counted{body, &p.moved}
	for _, f := range want {
		if _, err := io.CopyN(io.Discard, r, f.Offset-at); err != nil {
			return cutOff(err)
		}
		at = f.End
		packed := &io.LimitedReader{R: r, N: f.End - f.Offset}
		if err := p.file(packed, f); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, packed); err != nil {
			return cutOff(err)
		}
		if packed.N > 0 {
			return cutOff(io.EOF)
		}
	}
	return nil
}

func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// file unpacks a file and stores it.
func (p *puller) file(packed io.Reader, f wanted) error {
	in := &faithful{r: packed}
	z, err := chunked.NewReader(in)
	if err != nil {
		return err
	}
	defer z.Close()
	unpacked := &faithful{r: z}
	err = p.store(f.object, unpacked, f.Size)
	switch {
	case err == nil:
		p.got(f.object)
		return nil
	case in.err != nil:
		return in.err
	case unpacked.err != nil, errors.Is(err, fetch.ErrWrong):
		p.because(fmt.Errorf("%w: it leads to other content for %.300q", chunked.ErrTable, f.Name))
		return nil
	}
	return err
}

// because notes why whole layers have to be read.
func (p *puller) because(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil {
		p.why = err
	}
}

// hasRanges reports whether parts of layers may still be asked for.
func (p *puller) hasRanges() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !errors.Is(p.why, oci.ErrNoRanges)
}

// whole reads a layer from its beginning, and stores the files that are needed.
func (p *puller) whole(ctx context.Context, l oci.Layer) error {
	ctx, cancel := context.WithCancel(ctx)
	body, err := l.Open(ctx)
	if err != nil {
		cancel()
		return err
	}
	p.done.Whole++
	from, to := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		to.CloseWithError(tarball.Unpack(ctx, to, &counted{body, &p.moved}, 0))
	}()
	defer func() {
		cancel()
		from.Close()
		<-ended
		body.Close()
	}()
	files := tar.NewReader(from)
	last := p.moved.Load()
	for len(p.needed) > 0 {
		if now := p.moved.Load(); now-last >= durable {
			if err := p.stage.Checkpoint(); err != nil {
				return err
			}
			last = now
		}
		h, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		d, ok := p.need(h.Name, h.Size)
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || !ok {
			continue
		}
		// One of an upper layer may hide this one.
		err = p.store(d, files, h.Size)
		if errors.Is(err, fetch.ErrWrong) {
			continue
		}
		if err != nil {
			return err
		}
		p.got(d)
	}
	return nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// A faithful reader remembers why reading failed.
type faithful struct {
	r   io.Reader
	err error
}

func (f *faithful) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
