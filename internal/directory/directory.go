// Package directory reads a directory of the running system into a file tree.
//
// One goroutine walks the directories in the order of their names; the files in
// them are opened, described and hashed by as many workers as there are cores.
// The result doesn't depend on which of them is faster, nor on the file system's
// order, the umask, the locale or the time zone.
//
//	walk ──▶ leaves ──▶ worker ─┐
//	  │                 worker ─┴─▶ Sink (digest only, or a repository)
//	  └──▶ tree of directories, filled in by the workers
//
// Hard links within the tree are kept, unless asked otherwise: the first name in
// depth-first order is the original. Files of 1 to InlineMax bytes go into the image, larger ones to the Sink.
package directory

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/tree"
	"github.com/composefs-go/composefs/verity"
)

// InlineMax is the size in bytes up to which a file's content lies in the image,
// as in the C and the Rust tools.
const InlineMax = 64

// A Sink takes the content of a file that becomes an object and returns its
// digest. It must be safe for concurrent use and leave f's offset alone. What
// it reads goes through scratch, which is the caller's and at least 64 KiB long.
type Sink interface {
	PutFile(f osfile.Source, size int64, scratch []byte) (verity.Digest, error)
}

// Options says what of a directory becomes part of the tree.
type Options struct {
	Sink        Sink
	UseEpoch    bool // all times become 0
	SkipDevices bool // leave out character and block devices, whiteouts too
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // of the extended attributes only user.*
	Sockets     bool // take sockets; without it they are an error
	SplitLinks  bool // each name of a file with several is a file of its own

	// Empty names directories at the top, like "boot", that are taken without
	// what is in them; that isn't even looked at.
	Empty []string

	// Progress, if set, is told of each file that is done: its size in bytes.
	// It is called by all workers.
	Progress func(size int64)
}

// scratchSize is the buffer of a worker: small enough for the second-level
// cache, a multiple of what one Merkle tree block of either hash covers.
const scratchSize = 512 << 10

// Read returns the tree of the directory at path. Errors name the file; a file
// that changes while it is read is an error, since no digest describes it.
func Read(ctx context.Context, path string, opts Options) (*tree.Node, error) {
	top, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	s := &scan{opts: opts, leaves: make(chan []*leaf, 4), inodes: map[inode]*leaf{}}
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return s.work(ctx) })
	}
	var root *tree.Node
	group.Go(func() error {
		defer close(s.leaves)
		dir := newHandle(top, nil)
		defer dir.release()
		if root, err = s.directory(ctx, dir); err == nil {
			err = s.send(ctx)
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s.link()
	return root, nil
}

// A scan is one Read in progress.
type scan struct {
	opts   Options
	leaves chan []*leaf // to the workers, batchSize at a time
	batch  []*leaf      // the next of them
	order  []*leaf      // all of them in depth-first order; the walker's own
	claims claims
	inodes map[inode]*leaf
}

// A leaf is a file that isn't a directory, on its way to a worker.
type leaf struct {
	dir    *handle
	parent *tree.Node
	name   string
	kind   fs.FileMode // as the directory has it
	node   *tree.Node
	inode  inode // of a file with several names
}

func (l *leaf) path() string { return filepath.Join(l.dir.path(), l.name) }

// directory reads what is in dir and below.
func (s *scan) directory(ctx context.Context, dir *handle) (*tree.Node, error) {
	node, err := s.describeDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir.path(), err)
	}
	if dir.parent != nil && dir.parent.parent == nil && slices.Contains(s.opts.Empty, dir.name) {
		return node, nil
	}
	entries, err := dir.f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir.path(), plain(err))
	}
	sortByName(entries)
	for _, e := range entries {
		if e.IsDir() {
			err = s.subdirectory(ctx, dir, node, e.Name())
		} else {
			err = s.enqueue(ctx, &leaf{dir: dir.retain(), parent: node, name: e.Name(), kind: e.Type(), node: &tree.Node{}})
		}
		if err != nil {
			return nil, err
		}
	}
	return node, nil
}

func (s *scan) subdirectory(ctx context.Context, parent *handle, node *tree.Node, name string) error {
	dir, err := parent.open(name)
	if err != nil {
		return err
	}
	defer dir.release()
	child, err := s.directory(ctx, dir)
	if err != nil {
		return err
	}
	return addTo(node, dir.path(), name, child)
}

// batchSize is how many leaves go to a worker at a time. Waking one up for every
// small file would cost as much as reading it.
const batchSize = 32

func (s *scan) enqueue(ctx context.Context, l *leaf) error {
	s.order = append(s.order, l)
	s.batch = append(s.batch, l)
	if len(s.batch) < batchSize {
		return nil
	}
	return s.send(ctx)
}

// send gives the batch to the workers.
func (s *scan) send(ctx context.Context) error {
	select {
	case s.leaves <- s.batch:
		s.batch = make([]*leaf, 0, batchSize)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// link puts the leaves into their directories, once all are described.
func (s *scan) link() {
	for _, l := range s.order {
		switch {
		case l.node.Kind == 0: // left out
		case l.inode == inode{}:
			l.parent.Add(l.name, l.node)
		default:
			s.linkInode(l)
		}
	}
}

// linkInode adds one of the names of a file with several. The original is the
// first name; the content is that of whichever name a worker came to first.
func (s *scan) linkInode(l *leaf) {
	original, ok := s.inodes[l.inode]
	if ok {
		original.node.Nlink++
		l.parent.Link(l.name, original.node)
		return
	}
	l.node = s.claims.of(l.inode).node
	l.node.Nlink = 1
	s.inodes[l.inode] = l
	l.parent.Add(l.name, l.node)
}

// addTo adds a child and names the path when the name can't be one.
func addTo(parent *tree.Node, path, name string, child *tree.Node) error {
	if err := parent.Add(name, child); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// plain takes the path out of an *os.PathError: our errors name it themselves.
func plain(err error) error {
	var p *os.PathError
	if asPathError(err, &p) {
		return p.Err
	}
	return err
}
