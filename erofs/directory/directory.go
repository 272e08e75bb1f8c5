// Package directory reads a directory of the running system into a file tree.
//
// One goroutine walks the directories in the order of their names; the files in them are
// opened, described and hashed by as many goroutines as there are cores, including the
// walker when the others are busy. The result doesn't depend on which of them is faster,
// nor on the file system's order, the umask, the locale or the time zone.
//
//	walk ──▶ batches ──▶ worker ─┐
//	  │          └────▶ walker ─┴─▶ Sink (digest only, or a repository)
//	  └──▶ tree, whose files are filled in by the workers
//
// Hard links within the tree are kept, unless asked otherwise: the first name in
// depth-first order is the original. Files of 1 to tree.InlineMax bytes go into the
// image, larger ones to the Sink. A mount inside the directory is an error unless
// Options.Mounts says otherwise; a file mounted over another file of the same file system
// isn't noticed.
package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// A Source is an open file whose content is read. An *os.File is one.
type Source interface {
	io.ReaderAt
	Fd() uintptr
}

// A Sink takes the content of a file that becomes an object and returns its digest. It must
// be safe for concurrent use and must not change f's offset. It may use scratch as a buffer
// during the call; scratch has at least 64 KiB.
type Sink interface {
	PutFile(f Source, size int64, scratch []byte) (verity.Digest, error)
}

// A Cache knows digests of files from earlier reads. It must be safe for concurrent use. st
// is the result of fstat for the open file fd.
type Cache interface {
	Find(fd int, st *unix.Stat_t) (verity.Digest, bool)
	Keep(fd int, st *unix.Stat_t, d verity.Digest)
}

// A Holder is a Sink that can tell whether it has an object, so that the content need not be
// read. Other Sinks get every file.
type Holder interface {
	Holds(d verity.Digest, size int64) bool
}

// Options say which parts of a directory become part of the tree.
type Options struct {
	Sink        Sink // takes the contents of larger files; required
	UseEpoch    bool // all times become 0
	SkipDevices bool // leave out character and block devices, including whiteouts
	SkipXattrs  bool // no extended attributes
	UserXattrs  bool // only the extended attributes in user.*
	Sockets     bool // accept sockets, which are an error otherwise
	SplitLinks  bool // each name of a file with several names becomes a file of its own

	// Cache, if set, is asked for a file's digest before the file is read. Without it, all
	// digests come from the contents.
	Cache Cache

	// Mounts says what to do with mounts inside the directory.
	Mounts MountRule
	// Empty names directories at the top, such as "boot", whose content is left out. It
	// isn't read.
	Empty []string

	// Progress, if set, is called with the size in bytes of each file that is done. It is
	// called from several goroutines at once.
	Progress func(size int64)
}

// scratchSize is the size of a worker's buffer: small enough for the second-level cache, and
// a multiple of the content that a block of the Merkle tree covers with either hash.
const scratchSize = 256 << 10

// Read returns the tree of the directory at path. Errors name the file. It is an error if a
// file changes while it is read, since no digest describes it.
func Read(ctx context.Context, path string, opts Options) (*tree.Node, error) {
	if opts.Sink == nil {
		return nil, errors.New("read a directory: want a Sink for the contents of its files, found none")
	}
	top, err := openTop(path)
	if err != nil {
		return nil, err
	}
	helpers := runtime.GOMAXPROCS(0) - 1
	s := &scan{opts: opts, full: make(chan []leaf, batchesAhead), free: make(chan []leaf, batchesAhead+helpers+1)}
	group, ctx := errgroup.WithContext(ctx)
	workers := make([]*worker, helpers+1)
	for i := range workers {
		workers[i] = &worker{scan: s, scratch: make([]byte, scratchSize)}
	}
	for _, w := range workers[1:] {
		group.Go(func() error { return w.work(ctx) })
	}
	var root *tree.Node
	group.Go(func() error {
		defer close(s.full)
		defer top.release()
		w := walker{worker: workers[0], dirents: make([]byte, direntsSize)}
		root, err = w.directory(ctx, top)
		if err != nil {
			s.giveBack(w.batch)
			return err
		}
		return w.finish(ctx)
	})
	if err := group.Wait(); err != nil {
		for batch := range s.full { // batches that no worker has taken
			s.giveBack(batch)
		}
		return nil, err
	}
	s.link(workers)
	return root, nil
}

// A scan is one Read in progress.
type scan struct {
	opts   Options
	full   chan []leaf // to the workers
	free   chan []leaf // from them, to be filled again
	claims claims
}

// A leaf is a file that isn't a directory, on its way to a worker. Its node has its
// name already.
type leaf struct {
	dir    *handle
	parent *tree.Node
	name   string
	kind   uint32 // according to the directory: S_IFMT bits of st_mode
	number int    // in depth-first order
	node   *tree.Node
}

func (l *leaf) path() string { return filepath.Join(l.dir.path(), l.name) }

// Waking up a worker for every small file would cost as much as reading it. So leaves go to
// the workers batchSize at a time, and at most batchesAhead batches wait for a worker. The
// product limits how many directories are open.
const (
	batchSize    = 32
	batchesAhead = 6
)

// A walker walks the directories.
type walker struct {
	*worker
	dirents []byte   // buffer
	entries []dirent // of the directories from the top to the current one
	batch   []leaf   // the next for a worker
	leaves  int      // so far
}

// directory reads dir and everything below it.
func (w *walker) directory(ctx context.Context, dir *handle) (*tree.Node, error) {
	node := w.arena.Node()
	if err := w.describeDirectory(node, dir); err != nil {
		return nil, fmt.Errorf("read %s: %w", dir.path(), err)
	}
	if w.empties(dir) {
		return node, nil
	}
	start := len(w.entries)
	var err error
	if w.entries, err = readDirents(w.entries, dir.fd, w.dirents, w.arena.String); err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir.path(), err)
	}
	for i := start; i < len(w.entries); i++ {
		if err := w.entry(ctx, dir, node, w.entries[i]); err != nil {
			return nil, err
		}
	}
	w.entries = w.entries[:start]
	return node, nil
}

// empties reports whether the content of a directory is left out.
func (w *walker) empties(dir *handle) bool {
	return dir.parent != nil && dir.parent.parent == nil && slices.Contains(w.opts.Empty, dir.name)
}

// undescribed returns a directory whose own attributes are unknown. It is like a directory
// without an entry in an archive.
func (w *walker) undescribed() *tree.Node {
	n := w.arena.Node()
	n.Kind, n.Perm, n.Nlink = tree.Directory, 0o755, 1
	return n
}

func (w *walker) entry(ctx context.Context, dir *handle, parent *tree.Node, e dirent) error {
	switch e.kind {
	case unix.S_IFDIR:
		return w.subdirectory(ctx, dir, parent, e.name)
	case unix.S_IFCHR, unix.S_IFBLK:
		if w.opts.SkipDevices {
			return nil
		}
	}
	l := leaf{dir: dir, parent: parent, name: e.name, kind: e.kind, number: w.leaves, node: w.arena.Node()}
	if err := parent.Add(l.name, l.node); err != nil {
		return fmt.Errorf("read %s: %w", l.path(), err)
	}
	dir.retain()
	w.leaves++
	w.batch = append(w.batch, l)
	if len(w.batch) < batchSize {
		return nil
	}
	return w.send(ctx)
}

func (w *walker) subdirectory(ctx context.Context, parent *handle, node *tree.Node, name string) error {
	dir, err := parent.open(name)
	if err != nil {
		return err
	}
	defer dir.release()
	if w.opts.Mounts != IncludeMounts && !w.empties(dir) {
		switch is, err := mounted(dir); {
		case err != nil:
			return fmt.Errorf("read directory %s: %w", dir.path(), err)
		case is && w.opts.Mounts == RefuseMounts:
			return mountError(dir.fd, dir.path())
		case is:
			return node.Add(name, w.undescribed())
		}
	}
	child, err := w.directory(ctx, dir)
	if err != nil {
		return err
	}
	if err := node.Add(name, child); err != nil {
		return fmt.Errorf("read %s: %w", dir.path(), err)
	}
	return nil
}

// send passes the batch to a worker. If enough batches are waiting, the walker describes it
// itself.
func (w *walker) send(ctx context.Context) error {
	select {
	case w.full <- w.batch:
	default:
		if err := w.describeAll(ctx, w.batch); err != nil {
			return err
		}
	}
	select {
	case w.batch = <-w.free:
	default:
		w.batch = make([]leaf, 0, batchSize)
	}
	return ctx.Err()
}

// finish works together with the workers on the remaining batches.
func (w *walker) finish(ctx context.Context) error {
	if err := w.describeAll(ctx, w.batch); err != nil {
		return err
	}
	for {
		select {
		case batch := <-w.full:
			if err := w.describeAll(ctx, batch); err != nil {
				return err
			}
		default:
			return ctx.Err()
		}
	}
}
