package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/composefs-go/composefs/internal/tree"
)

// The names of whiteouts, as the OCI image format has them.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// kinds says what the types of entries are. Those that have no node aren't here.
var kinds = map[byte]tree.Kind{
	tar.TypeReg: tree.Regular, tar.TypeCont: tree.Regular, tar.TypeGNUSparse: tree.Regular, tar.TypeDir: tree.Directory,
	tar.TypeSymlink: tree.Symlink, tar.TypeChar: tree.CharDevice, tar.TypeBlock: tree.BlockDevice, tar.TypeFifo: tree.FIFO,
}

// typeVolume is GNU tar's label of the archive.
const typeVolume = 'V'

// An archive is one of those that a Builder reads, while it does.
type archive struct {
	*Builder
	stream   *stream
	tar      *tar.Reader
	pipeline *pipeline
	holes    int64 // that may still come
}

// read applies all entries of a stream.
func (b *Builder) read(s *stream, p *pipeline) error {
	a := archive{b, s, tar.NewReader(s), p, b.opts.MaxHoles}
	for {
		hdr, err := a.tar.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return b.after(explain(err))
		}
		b.entries++
		b.name = hdr.Name
		if err := a.entry(hdr); err != nil {
			return err
		}
	}
	if err := s.finish(); err != nil {
		return b.after(explain(err))
	}
	return nil
}

// after is the error of what follows the current entry.
func (b *Builder) after(err error) error {
	if b.entries == 0 {
		return b.fault(err)
	}
	return b.fault(fmt.Errorf("in it or after it: %w", err))
}

func (a *archive) entry(hdr *tar.Header) error {
	if err := a.charge(hdr); err != nil {
		return a.fault(err)
	}
	switch hdr.Typeflag {
	case typeVolume:
		return nil
	case tar.TypeXGlobalHeader:
		return a.global(hdr)
	}
	var err error
	if a.parts, err = split(a.parts[:0], hdr.Name); err != nil {
		return a.fault(err)
	}
	if len(a.parts) > 0 && strings.HasPrefix(a.parts[len(a.parts)-1], whiteoutPrefix) {
		return a.whiteout()
	}
	if hdr.Typeflag == tar.TypeLink {
		return a.link(hdr)
	}
	kind, ok := kinds[hdr.Typeflag]
	if !ok {
		return a.faultf("type %q has no meaning here", hdr.Typeflag)
	}
	return a.add(hdr, kind)
}

// charge counts an entry against the limit of memory.
func (b *Builder) charge(hdr *tar.Header) error {
	text := len(hdr.Name) + len(hdr.Linkname)
	for key, value := range hdr.PAXRecords {
		text += len(key) + len(value)
	}
	b.charged += 1 + int64(text)/512
	if b.charged > b.opts.MaxEntries {
		return fmt.Errorf("%w: %w, more than %d", ErrTooLarge, ErrTooMany, b.opts.MaxEntries)
	}
	return nil
}

// global looks at a header that is meant for all files after it. That of git archive
// is a comment; others change files, and archive/tar doesn't apply them.
func (b *Builder) global(hdr *tar.Header) error {
	for key := range hdr.PAXRecords {
		switch family, _, _ := strings.Cut(key, "."); family {
		case "path", "linkpath", "size", "uid", "gid", "mtime", "SCHILY", "LIBARCHIVE", "GNU", "RHT":
			return b.faultf("a global header with %s, which isn't supported: make the archive without", key)
		}
	}
	return nil
}

// add puts a file that isn't a hard link into the tree.
func (a *archive) add(hdr *tar.Header, kind tree.Kind) error {
	n, err := a.describe(hdr, kind)
	if err != nil {
		return a.fault(err)
	}
	if err := a.insert(n, false); err != nil {
		return a.fault(err)
	}
	if kind == tree.Regular {
		return a.content(n)
	}
	return nil
}

// content reads a regular file's content.
func (a *archive) content(n *tree.Node) error {
	guard := &holeGuard{r: a.tar, s: a.stream, start: a.stream.offset, left: &a.holes}
	defer guard.finish()
	if a.opts.Progress != nil {
		defer a.opts.Progress(int64(n.Size))
	}
	if n.Size <= InlineMax {
		if n.Size == 0 {
			return nil
		}
		n.Inline = make([]byte, n.Size)
		if _, err := io.ReadFull(guard, n.Inline); err != nil {
			return a.fault(explain(err))
		}
		return nil
	}
	var r io.Reader = guard
	if a.opts.Tee != nil {
		if w := a.opts.Tee(strings.Join(a.parts, "/"), n); w != nil {
			r = io.TeeReader(guard, w)
		}
	}
	if err := a.pipeline.put(job{node: n, entry: a.entries, name: a.name}, r); err != nil {
		return a.fault(explain(err))
	}
	return nil
}

// link puts a further name of a file into the tree. What else its header says
// doesn't count: it is what the file had when the archive was made.
func (a *archive) link(hdr *tar.Header) error {
	target, err := split(nil, hdr.Linkname)
	if err != nil {
		return a.faultf("hard link: %w", err)
	}
	n := a.lookup(target)
	switch {
	case n == nil:
		return a.faultf("hard link to %.300q: no such file came before it", hdr.Linkname)
	case n.Kind == tree.Directory:
		return a.faultf("hard link to %.300q: that is a directory", hdr.Linkname)
	}
	if err := a.insert(n, true); err != nil {
		return a.fault(err)
	}
	return nil
}

// whiteout takes away what came before. Where there is nothing that's fine.
func (a *archive) whiteout() error {
	last := len(a.parts) - 1
	name := a.parts[last]
	dir := a.lookup(a.parts[:last])
	if dir == nil || dir.Kind != tree.Directory {
		return nil
	}
	if name == opaqueName {
		dir.Clear()
		return nil
	}
	hidden := strings.TrimPrefix(name, whiteoutPrefix)
	if dir.Lookup(hidden) != nil {
		dir.Replace(hidden, a.gone, false)
	}
	return nil
}
