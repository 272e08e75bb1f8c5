package directory

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/tree"
	"github.com/composefs-go/composefs/verity"
)

// Errors that a caller may want to tell apart.
var (
	ErrChanged = errors.New("the file changed while it was read; build from a tree that nobody writes to")
	ErrSocket  = errors.New("a socket can't be part of an image; remove it from the tree")
)

// work describes leaves until there are no more.
func (s *scan) work(ctx context.Context) error {
	scratch := make([]byte, scratchSize)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batch, ok := <-s.leaves:
			if !ok {
				return nil
			}
			if err := s.describeAll(ctx, batch, scratch); err != nil {
				return err
			}
		}
	}
}

func (s *scan) describeAll(ctx context.Context, batch []*leaf, scratch []byte) error {
	for _, l := range batch {
		if err := s.describe(l, scratch); err != nil {
			return fmt.Errorf("read %s: %w", l.path(), err)
		}
		l.dir.release()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// describe fills in the node of a leaf.
func (s *scan) describe(l *leaf, scratch []byte) error {
	if err := tree.CheckName(l.name); err != nil {
		return err
	}
	dirfd := int(l.dir.f.Fd())
	if l.kind.IsRegular() {
		return s.regular(l, dirfd, scratch)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, l.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		if !s.opts.Sockets {
			return ErrSocket
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if s.opts.SkipDevices {
			return nil
		}
	case unix.S_IFDIR, unix.S_IFREG:
		return ErrChanged // it was another kind of file when the directory was read
	}
	if !s.setStat(l, &st) {
		return nil
	}
	if l.node.Kind == tree.Symlink {
		if err := s.symlink(l, dirfd); err != nil {
			return err
		}
	}
	return s.readXattrs(l.node, entryOf(dirfd, l.name))
}

// setStat fills in what stat knows. It reports whether the rest is wanted: of a
// file with several names, one of them is enough.
func (s *scan) setStat(l *leaf, st *unix.Stat_t) bool {
	if st.Nlink > 1 && !s.opts.SplitLinks {
		l.inode = inode{uint64(st.Dev), st.Ino}
		if !s.claims.claim(l.inode, l) {
			l.node.Kind = kinds[st.Mode&unix.S_IFMT]
			return false
		}
	}
	s.describeNode(l.node, st)
	return true
}

func (s *scan) symlink(l *leaf, dirfd int) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dirfd, l.name, buf)
	if err != nil {
		return err
	}
	l.node.Target, l.node.Size = string(buf[:n]), uint64(n)
	return nil
}

// regular reads a file's content, its extended attributes, and makes sure that
// nobody wrote to it meanwhile.
func (s *scan) regular(l *leaf, dirfd int, scratch []byte) error {
	f, err := osfile.OpenRaw(dirfd, l.name)
	if errors.Is(err, unix.ELOOP) {
		return ErrChanged // it was no symlink when the directory was read
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var before, after unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &before); err != nil {
		return err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrChanged
	}
	if !s.setStat(l, &before) {
		return nil
	}
	if err := s.content(l.node, f, scratch); err != nil {
		return err
	}
	if err := s.readXattrs(l.node, openFile(int(f.Fd()))); err != nil {
		return err
	}
	if err := unix.Fstat(int(f.Fd()), &after); err != nil {
		return err
	}
	if changed(&before, &after) {
		return ErrChanged
	}
	if s.opts.Progress != nil {
		s.opts.Progress(after.Size)
	}
	return nil
}

func (s *scan) content(n *tree.Node, f osfile.Source, scratch []byte) error {
	switch size := int64(n.Size); {
	case size == 0:
		return nil
	case size <= InlineMax:
		n.Inline = make([]byte, size)
		return unexpectedEOF(readFull(f, n.Inline))
	default:
		d, err := s.opts.Sink.PutFile(f, size, scratch)
		n.Object, n.Payload = d, d.ObjectPath()
		return unexpectedEOF(err)
	}
}

func readFull(f osfile.Source, b []byte) error {
	_, err := f.ReadAt(b, 0)
	return err
}

// unexpectedEOF turns the end of a file that comes too early into what it means here.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, verity.ErrTruncated) {
		return ErrChanged
	}
	return err
}

func changed(a, b *unix.Stat_t) bool {
	return a.Ino != b.Ino || a.Dev != b.Dev || a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim
}

func (s *scan) describeNode(n *tree.Node, st *unix.Stat_t) {
	n.Kind = kinds[st.Mode&unix.S_IFMT]
	n.Perm = uint16(st.Mode & 0o7777)
	n.Nlink, n.UID, n.GID = 1, st.Uid, st.Gid
	if !s.opts.UseEpoch {
		n.Mtime = tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
	}
	switch n.Kind {
	case tree.Regular:
		n.Size = uint64(st.Size)
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev = uint32(st.Rdev)
	}
}

func (s *scan) describeDirectory(dir *handle) (*tree.Node, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.f.Fd()), &st); err != nil {
		return nil, err
	}
	n := &tree.Node{}
	s.describeNode(n, &st)
	return n, s.readXattrs(n, openFile(int(dir.f.Fd())))
}
