package tarball

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// A Sink takes the contents of files that become objects and returns their digests.
// It must be safe for concurrent use and mustn't keep content. If the writer that Put passes
// to write has a method WriteZeros(n int64) (int64, error), it is called for holes of sparse
// files.
type Sink interface {
	PutBytes(content []byte) (verity.Digest, error)
	Put(write func(io.Writer) error) (d verity.Digest, size int64, err error)
}

// DefaultMaxEntries is the default limit for the entries of all archives. So many take 5 GB
// of memory as a rule, and at most 11 GB.
const DefaultMaxEntries = 8 << 20

// EntryMemory is the most memory that an entry takes, in bytes.
const EntryMemory = 1280

// An entry counts as one more for each chargedBytes of its names and attributes; each
// attribute adds attributeBytes to these.
const (
	chargedBytes   = 512
	attributeBytes = 192
)

// Options say which parts of an archive become part of the tree.
type Options struct {
	Sink        Sink
	UseEpoch    bool // all times become 0
	SkipDevices bool // leave out character and block devices, including whiteouts of overlayfs
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // only the extended attributes in user.*

	// InOrder lets whiteouts hide everything before them, as composefs-rs does, instead
	// of only the files of lower layers, as the OCI image format says.
	InOrder bool
	// FollowLinks follows symbolic links on the way to a file, inside the tree. Otherwise
	// they are an error.
	FollowLinks bool
	// Strict turns remarks into errors, except for a WhiteoutOrder.
	Strict bool
	// Remark, if set, is called for oddities of an archive that aren't errors.
	Remark func(error)
	// Empty names directories at the top, such as "boot", whose content will be dropped:
	// the order of whiteouts in them isn't worth a remark.
	Empty []string

	// MaxEntries limits the number of entries in all archives, and so the memory: to
	// EntryMemory bytes for each entry, and the buffers. A directory without an entry
	// counts as one, and so do each 512 bytes of an entry's names and attributes.
	MaxEntries int64
	// MaxExpansion limits the size in bytes that all archives may unpack to, including the
	// holes of their sparse files, and so time and space. 0 stands for 16 GiB plus 64 times
	// the size of the archives.
	MaxExpansion int64

	// Tee, if set, is called for each file that becomes an object. If it returns a writer,
	// that gets the content as well, while it is read.
	Tee func(path string, n *tree.Node) io.Writer
	// Progress, if set, is called with the size in bytes of each file that was read.
	Progress func(size int64)
}

// A Builder makes a tree from one or several archives. After an error it can't be used.
type Builder struct {
	opts  Options
	arena tree.Arena
	view  *view
	parts []string // of the current entry's name

	// The tree under the other rule for whiteouts, once it may differ; and why there is
	// none.
	other    *view
	otherErr error

	xattrs []tree.Xattr // of the current entry
	kept   int          // bytes that they take

	layers  int   // so far
	spent   spent // by the archives so far
	entries int64 // of the current archive
	name    string
	charged int64 // against MaxEntries
}

// NewBuilder returns a Builder of a tree that has only a root.
func NewBuilder(opts Options) *Builder {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = DefaultMaxEntries
	}
	b := &Builder{opts: opts}
	b.view = &view{inOrder: opts.InOrder, follow: opts.FollowLinks, arena: &b.arena, charge: b.charge, gone: new(tree.Node)}
	b.view.root = b.view.newDirectory()
	return b
}

func (b *Builder) remark(err error) {
	if b.opts.Remark != nil {
		b.opts.Remark(err)
	}
}

// workersMax is the number of workers that one stream can keep busy.
const workersMax = 8

// Apply adds an archive on top of the earlier ones. It reads r to its end.
func (b *Builder) Apply(ctx context.Context, r io.Reader) error { return b.ApplyTee(ctx, r, nil) }

// ApplyTee is Apply, and writes the archive without its compression to unpacked, if that
// isn't nil.
func (b *Builder) ApplyTee(ctx context.Context, r io.Reader, unpacked io.Writer) error {
	return b.Record(ctx, r, unpacked, nil)
}

// Record is ApplyTee, and has the Recorder take the archive apart, if that isn't nil.
func (b *Builder) Record(ctx context.Context, r io.Reader, unpacked io.Writer, to Recorder) error {
	s, err := openStream(r, b.opts.MaxExpansion)
	if err != nil {
		return err
	}
	defer s.close()
	if unpacked != nil {
		s.r = io.TeeReader(s.r, unpacked)
	}
	return b.apply(ctx, s, to, nil)
}

// apply adds an archive, which may be a replay.
func (b *Builder) apply(ctx context.Context, s *stream, to Recorder, from *replay) error {
	b.entries, b.name = 0, ""
	b.layers++
	b.view.begin(b.layers == 1)
	if b.other != nil {
		b.other.begin(b.layers == 1)
	}
	s.before = b.spent
	defer func() { b.spent = s.spent() }()
	workers := min(runtime.GOMAXPROCS(0), workersMax)
	group, ctx := errgroup.WithContext(ctx)
	p := newPipeline(ctx, b.opts.Sink, workers)
	a := archive{Builder: b, stream: s, pipeline: p, replay: from}
	if to != nil {
		a.recording = &recording{ctx: ctx, to: to, sink: b.opts.Sink}
		s.r = io.TeeReader(s.r, a.recording)
	}
	for range workers {
		group.Go(p.work)
	}
	group.Go(func() error {
		defer close(p.jobs)
		return a.read()
	})
	return group.Wait()
}

// Tree returns the root. The Builder can't be used afterwards.
func (b *Builder) Tree() *tree.Node {
	b.view.finish(b.opts.SkipDevices)
	b.remarkOrder()
	tree.Relink(b.view.root)
	return b.view.root
}
