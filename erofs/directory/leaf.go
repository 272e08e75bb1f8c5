package directory

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// Causes of errors that a caller may want to tell apart.
var (
	ErrChanged = errors.New("the file changed while it was read")
	ErrSocket  = errors.New("a socket can't be part of an image")
)

// A worker describes files. Workers share nothing but the scan.
type worker struct {
	*scan
	arena   tree.Arena
	scratch []byte     // scratchSize long
	linked  []linkName // names of files with several names

	// For the current file. As local variables they would be allocated for each file,
	// since they escape to the Sink or the Cache.
	file          osfile.Raw
	before, after unix.Stat_t
}

// work describes leaves until there are no more.
func (w *worker) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batch, ok := <-w.full:
			if !ok {
				return nil
			}
			if err := w.describeAll(ctx, batch); err != nil {
				return err
			}
		}
	}
}

// describeAll describes a batch and gives it back.
func (w *worker) describeAll(ctx context.Context, batch []leaf) error {
	defer w.giveBack(batch)
	for i := range batch {
		if err := w.describe(&batch[i]); err != nil {
			return fmt.Errorf("read %s: %w", batch[i].path(), err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// giveBack releases a batch's directories, and the batch.
func (s *scan) giveBack(batch []leaf) {
	for i := range batch {
		batch[i].dir.release()
	}
	select {
	case s.free <- batch[:0]:
	default:
	}
}

// describe fills in the node of a leaf.
func (w *worker) describe(l *leaf) error {
	if l.kind == unix.S_IFREG {
		return w.regular(l)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(l.dir.fd, l.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := w.checkMount(l, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != l.kind:
		return ErrChanged // it was of another kind when the directory was read
	case l.kind == unix.S_IFSOCK && !w.opts.Sockets:
		return ErrSocket
	case !w.setStat(l, &st):
		return nil
	}
	if l.node.Kind == tree.Symlink {
		if err := w.symlink(l); err != nil {
			return err
		}
	}
	return w.readXattrs(l.node, entryOf(l.dir.fd, l.name))
}

// setStat fills in the result of stat. It reports whether the rest is needed: for a file with
// several names, one of them is enough.
func (w *worker) setStat(l *leaf, st *unix.Stat_t) bool {
	if st.Nlink > 1 && !w.opts.SplitLinks {
		id := inode{uint64(st.Dev), st.Ino}
		w.linked = append(w.linked, linkName{l.number, l.parent, l.name, id})
		if !w.claims.claim(id, l.node) {
			return false
		}
	}
	w.describeNode(l.node, st)
	return true
}

func (w *worker) symlink(l *leaf) error {
	buf := w.scratch[:unix.PathMax]
	n, err := unix.Readlinkat(l.dir.fd, l.name, buf)
	if err != nil {
		return err
	}
	l.node.Target, l.node.Size = w.arena.String(buf[:n]), uint64(n)
	return nil
}

// regular reads a file's content and extended attributes, and checks that it didn't change
// meanwhile.
func (w *worker) regular(l *leaf) (err error) {
	w.file, err = osfile.OpenRaw(l.dir.fd, l.name)
	if errors.Is(err, unix.ELOOP) {
		return ErrChanged // it wasn't a symlink when the directory was read
	}
	if err != nil {
		return err
	}
	defer w.file.Close()
	fd := int(w.file.Fd())
	if err := unix.Fstat(fd, &w.before); err != nil {
		return err
	}
	if err := w.checkMount(l, &w.before); err != nil {
		return err
	}
	if w.before.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrChanged
	}
	w.file.SetStat(&w.before)
	if !w.setStat(l, &w.before) {
		return nil
	}
	known := w.known(l.node)
	if !known {
		if err := w.content(l.node); err != nil {
			return err
		}
	}
	if err := w.readXattrs(l.node, xattrFile{fd: fd}); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &w.after); err != nil {
		return err
	}
	if changed(&w.before, &w.after) {
		return ErrChanged
	}
	if w.opts.Cache != nil && !known && !l.node.Object.IsZero() {
		w.opts.Cache.Keep(fd, &w.before, l.node.Object)
	}
	if w.opts.Progress != nil {
		w.opts.Progress(w.after.Size)
	}
	return nil
}

// known takes the digest of the current file from the cache. It reports whether it was
// there.
func (w *worker) known(n *tree.Node) bool {
	if w.opts.Cache == nil || n.Size <= tree.InlineMax {
		return false
	}
	holder, ok := w.opts.Sink.(Holder)
	if !ok {
		return false
	}
	d, ok := w.opts.Cache.Find(int(w.file.Fd()), &w.before)
	if !ok || !holder.Holds(d, w.before.Size) {
		return false
	}
	w.setObject(n, d)
	return true
}

func (w *worker) setObject(n *tree.Node, d verity.Digest) {
	n.Object, n.Payload = d, w.arena.String(d.AppendObjectPath(w.scratch[:0]))
}

// errNoDigest is a fault of the Sink: a file without a digest would read as zeros.
var errNoDigest = errors.New("want its digest from the Sink, found none")

// content reads the current file.
func (w *worker) content(n *tree.Node) error {
	switch size := int64(n.Size); {
	case size == 0:
		return nil
	case size <= tree.InlineMax:
		n.Inline = make([]byte, size)
		return unexpectedEOF(readFull(&w.file, n.Inline))
	default:
		d, err := w.opts.Sink.PutFile(&w.file, size, w.scratch)
		if err != nil {
			return unexpectedEOF(err)
		}
		if d.IsZero() {
			return errNoDigest
		}
		w.setObject(n, d)
		return nil
	}
}

func readFull(f Source, b []byte) error {
	_, err := f.ReadAt(b, 0)
	return err
}

// unexpectedEOF turns an unexpected end of the file into ErrChanged.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, verity.ErrTruncated) {
		return ErrChanged
	}
	return err
}

func changed(a, b *unix.Stat_t) bool {
	return a.Ino != b.Ino || a.Dev != b.Dev || a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim
}

func (w *worker) describeNode(n *tree.Node, st *unix.Stat_t) {
	n.Kind = kinds[st.Mode&unix.S_IFMT>>12]
	n.Perm = uint16(st.Mode & 0o7777)
	n.Nlink, n.UID, n.GID = 1, st.Uid, st.Gid
	if !w.opts.UseEpoch {
		n.Mtime = tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
	}
	switch n.Kind {
	case tree.Regular:
		n.Size = uint64(st.Size)
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev = uint32(st.Rdev)
	}
}

func (w *worker) describeDirectory(n *tree.Node, dir *handle) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir.fd, &st); err != nil {
		return err
	}
	dir.dev = st.Dev
	w.describeNode(n, &st)
	return w.readXattrs(n, xattrFile{fd: dir.fd})
}

// kinds maps the type bits of st_mode, shifted down.
var kinds = [16]tree.Kind{
	unix.S_IFREG >> 12: tree.Regular, unix.S_IFDIR >> 12: tree.Directory, unix.S_IFLNK >> 12: tree.Symlink,
	unix.S_IFCHR >> 12: tree.CharDevice, unix.S_IFBLK >> 12: tree.BlockDevice,
	unix.S_IFIFO >> 12: tree.FIFO, unix.S_IFSOCK >> 12: tree.Socket,
}
