package tarball

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/internal/tree"
	"github.com/composefs-go/composefs/verity"
)

// InlineMax is the size in bytes up to which a file's content lies in the image, as
// for directories.
const InlineMax = 64

// A Sink takes the contents of files that become objects and returns their digests.
// It must be safe for concurrent use and mustn't keep content.
type Sink interface {
	PutBytes(content []byte) (verity.Digest, error)
	Put(write func(io.Writer) error) (d verity.Digest, size int64, err error)
}

// What an archive may have at most unless Options says otherwise.
const (
	DefaultMaxEntries = 8 << 20 // takes about 5 GB of memory
	DefaultMaxHoles   = 1 << 40
)

// Options says what of an archive becomes part of the tree.
type Options struct {
	Sink        Sink
	UseEpoch    bool // all times become 0
	SkipDevices bool // leave out character and block devices, whiteouts of overlayfs too
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // of the extended attributes only user.*

	// MaxEntries bounds memory: the number of entries of all archives, where one
	// with long names or attributes counts once more for each 512 bytes of them.
	MaxEntries int64
	// MaxHoles bounds time: the bytes of all holes of an archive's sparse files,
	// which take no space in it.
	MaxHoles int64

	// Tee, if set, is asked for each file that becomes an object. What it returns,
	// if that isn't nil, gets the content too, while it is read.
	Tee func(path string, n *tree.Node) io.Writer
	// Progress, if set, is told of each file that was read: its size in bytes.
	Progress func(size int64)
}

// A Builder makes a tree of one or several archives. After an error it is of no use.
type Builder struct {
	opts  Options
	arena tree.Arena
	root  *tree.Node
	gone  *tree.Node // stands for a name that a whiteout took away
	parts []string   // of the current entry's name

	xattrs []tree.Xattr // of the current entry

	entries  int64 // of the current archive
	name     string
	charged  int64 // against MaxEntries
	implicit int64 // directories without an entry so far
}

// NewBuilder returns a Builder of a tree that has only a root.
func NewBuilder(opts Options) *Builder {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = DefaultMaxEntries
	}
	if opts.MaxHoles == 0 {
		opts.MaxHoles = DefaultMaxHoles
	}
	b := &Builder{opts: opts, gone: new(tree.Node)}
	b.root = b.directory()
	return b
}

// Read returns the tree of one archive.
func Read(ctx context.Context, r io.Reader, opts Options) (*tree.Node, error) {
	b := NewBuilder(opts)
	if err := b.Apply(ctx, r); err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

// workersMax is the number of workers that one stream can keep busy.
const workersMax = 8

// Apply adds an archive on top of those before. It reads r to its end.
func (b *Builder) Apply(ctx context.Context, r io.Reader) error {
	b.entries, b.name = 0, ""
	s, err := openStream(r)
	if err != nil {
		return err
	}
	defer s.close()
	workers := min(runtime.GOMAXPROCS(0), workersMax)
	group, ctx := errgroup.WithContext(ctx)
	p := newPipeline(ctx, b.opts.Sink, workers)
	for range workers {
		group.Go(p.work)
	}
	group.Go(func() error {
		defer close(p.jobs)
		return b.read(s, p)
	})
	return group.Wait()
}

// Tree returns the root. The Builder can't be used any more.
func (b *Builder) Tree() *tree.Node {
	b.prune(b.root)
	tree.Relink(b.root)
	return b.root
}

// prune takes out the names that shall not be there. That waits for the end: one by
// one it would take a time that grows with the square of a directory's size.
func (b *Builder) prune(dir *tree.Node) {
	entries, drop := dir.Entries(), false
	for _, e := range entries {
		drop = drop || b.drops(e.Node)
		if e.Node.Kind == tree.Directory {
			b.prune(e.Node)
		}
	}
	if !drop {
		return
	}
	dir.Clear()
	for _, e := range entries {
		switch {
		case b.drops(e.Node):
		case e.Link:
			dir.Link(e.Name, e.Node)
		default:
			dir.Add(e.Name, e.Node)
		}
	}
}

func (b *Builder) drops(n *tree.Node) bool {
	return n == b.gone || b.opts.SkipDevices && (n.Kind == tree.CharDevice || n.Kind == tree.BlockDevice)
}
