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
// It must be safe for concurrent use and mustn't keep content. If what Put gives to
// write has a method WriteZeros(n int64) (int64, error), holes of sparse files go there.
type Sink interface {
	PutBytes(content []byte) (verity.Digest, error)
	Put(write func(io.Writer) error) (d verity.Digest, size int64, err error)
}

// What an archive may have at most unless Options says otherwise.
const DefaultMaxEntries = 8 << 20 // takes 5 GB of memory as a rule, at most 11

// EntryMemory is the memory in bytes that an entry takes at most, with all that it brings.
const EntryMemory = 1280

// What counts as an entry more: so many bytes of names and attributes, where each
// attribute is as good as some bytes itself.
const (
	chargedBytes   = 512
	attributeBytes = 192
)

// Options says what of an archive becomes part of the tree.
type Options struct {
	Sink        Sink
	UseEpoch    bool // all times become 0
	SkipDevices bool // leave out character and block devices, whiteouts of overlayfs too
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // of the extended attributes only user.*

	// InOrder lets whiteouts hide all that came before them, as composefs-rs does,
	// and not only what lower layers left, as the OCI image format says.
	InOrder bool
	// FollowLinks resolves symbolic links on the way to a file, inside the tree. Without
	// it they are an error.
	FollowLinks bool
	// Strict makes an error of what is else a remark, but for a WhiteoutOrder.
	Strict bool
	// Remark, if set, is told what is odd about an archive, and no error.
	Remark func(error)
	// Empty names directories at the top, like "boot", whose content won't count in
	// the end: the order of whiteouts in there isn't worth a remark.
	Empty []string

	// MaxEntries bounds memory, to EntryMemory bytes for each and what the buffers
	// take: the number of entries of all archives. A directory without an entry counts
	// as one, and so do each 512 bytes of an entry's names and attributes.
	MaxEntries int64
	// MaxExpansion bounds time and space: the bytes that an archive may have without
	// its compression, with the holes of its sparse files, which take no space in it.
	// 0 is 64 times its size and 16 GiB.
	MaxExpansion int64

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
	view  *view
	parts []string // of the current entry's name

	// The tree by the other rule for whiteouts, from where it may differ on; and why
	// there is none.
	other    *view
	otherErr error

	xattrs []tree.Xattr // of the current entry
	kept   int          // bytes that they take

	layers  int   // so far
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

// Apply adds an archive on top of those before. It reads r to its end.
func (b *Builder) Apply(ctx context.Context, r io.Reader) error {
	b.entries, b.name = 0, ""
	b.layers++
	b.view.begin(b.layers == 1)
	if b.other != nil {
		b.other.begin(b.layers == 1)
	}
	s, err := openStream(r, b.opts.MaxExpansion)
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
	b.view.finish(b.opts.SkipDevices)
	b.remarkOrder()
	tree.Relink(b.view.root)
	return b.view.root
}
