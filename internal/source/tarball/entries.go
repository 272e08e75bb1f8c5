package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// The names of whiteouts in the OCI image format.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// kinds maps the types of entries to kinds of nodes. Types without a node aren't here.
var kinds = map[byte]tree.Kind{
	tar.TypeReg: tree.Regular, tar.TypeCont: tree.Regular, tar.TypeGNUSparse: tree.Regular, tar.TypeDir: tree.Directory,
	tar.TypeSymlink: tree.Symlink, tar.TypeChar: tree.CharDevice, tar.TypeBlock: tree.BlockDevice, tar.TypeFifo: tree.FIFO,
}

// typeVolume is GNU tar's label of the archive.
const typeVolume = 'V'

// foreign are the types of entries that aren't files, with a description.
var foreign = map[byte]string{
	'D': "it is a directory of an incremental archive, which lists what is in it (GNU tar --listed-incremental): want an archive of its own",
	'M': "it continues a file that another volume begins (GNU tar --multi-volume): want one archive",
	'N': "it is a list of long names as GNU tar wrote until 1992: want an archive of a newer one",
	'A': "it is an access control list as Solaris writes it: want a pax archive",
	'E': "it is extended attributes as Solaris writes them: want a pax archive",
	'I': "it is an inode without content: want the whole file",
	'X': "it is an extended header as Solaris writes it: want a pax archive",
}

// An archive is an archive that a Builder is reading.
type archive struct {
	*Builder
	stream   *stream
	tar      *tar.Reader
	pipeline *pipeline
	globals  globals
	linkSize int64 // of the current entry, if it is a hard link

	recording *recording // or nil
	replay    *replay    // or nil
}

// read applies all entries of the stream.
func (a *archive) read() error {
	a.tar = tar.NewReader(a.stream)
	for {
		hdr, err := a.tar.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return a.badHeader(err)
		}
		a.entries++
		a.name, a.linkSize = hdr.Name, 0
		if err := a.entry(hdr); err != nil {
			return err
		}
	}
	err := a.stream.finish()
	if err == ErrNoEnd && !a.opts.Strict {
		a.remark(a.fault(err))
		err = nil
	}
	if errors.Is(err, ErrNoEnd) {
		return a.fault(err)
	}
	if err != nil {
		return a.after(explain(err))
	}
	if a.recording != nil {
		return a.recording.pass(true)
	}
	return nil
}

// badHeader is the error for a header that can't be read. After a hard link it may be the
// link's content: pax writes some, but its end can't be known, since other programs write
// only the size.
func (a *archive) badHeader(err error) error {
	if a.linkSize > 0 && errors.Is(err, tar.ErrHeader) {
		return a.faultf("it is a hard link with %d bytes of content behind it (pax -o linkdata), which isn't supported: want hard links without content", a.linkSize)
	}
	return a.after(explain(err))
}

// after is an error in the bytes that follow the current entry.
func (b *Builder) after(err error) error {
	if b.entries == 0 {
		return b.fault(err)
	}
	return b.fault(fmt.Errorf("in it or after it: %w", err))
}

func (a *archive) entry(hdr *tar.Header) error {
	if err := a.charge(1 + int64(len(hdr.Name)+len(hdr.Linkname))/chargedBytes); err != nil {
		return a.fault(err)
	}
	switch hdr.Typeflag {
	case typeVolume:
		return nil
	case tar.TypeXGlobalHeader:
		if hdr.PAXRecords == nil { // archive/tar couldn't read a record, and drops them all
			return a.faultf("a global header with a malformed number or time")
		}
		if err := a.globals.add(hdr.PAXRecords); err != nil {
			return a.fault(err)
		}
		return nil
	}
	var err error
	if a.parts, err = split(a.parts[:0], hdr.Name); err != nil {
		return a.fault(err)
	}
	if len(a.parts) > 0 && strings.HasPrefix(a.parts[len(a.parts)-1], whiteoutPrefix) {
		return a.whiteout(hdr)
	}
	if hdr.Typeflag == tar.TypeLink {
		a.linkSize = hdr.Size
		return a.link(hdr)
	}
	kind, ok := kinds[hdr.Typeflag]
	switch what := foreign[hdr.Typeflag]; {
	case what != "":
		return a.faultf("type %q: %s", hdr.Typeflag, what)
	case !ok:
		return a.faultf("type %q has no meaning here", hdr.Typeflag)
	case kind == tree.Regular && strings.HasSuffix(hdr.Name, "/"):
		// The oldest archives, which have no type for directories, have them like this.
		if kind = tree.Directory; hdr.Size > 0 {
			return a.faultf("its name is a directory's, and it has %d bytes of content", hdr.Size)
		}
	}
	a.globals.apply(hdr)
	return a.add(hdr, kind)
}

// charge counts something that takes as much memory as n entries.
func (b *Builder) charge(entries int64) error {
	if b.charged += entries; b.charged > b.opts.MaxEntries {
		return fmt.Errorf("%w: %w, more than %d", ErrTooLarge, ErrTooMany, b.opts.MaxEntries)
	}
	return nil
}

// add puts a file that isn't a hard link into the tree.
func (a *archive) add(hdr *tar.Header, kind tree.Kind) error {
	a.kept = 0
	n, err := a.describe(hdr, kind)
	if err == nil {
		err = a.charge(int64(a.kept) / chargedBytes)
	}
	if err != nil {
		return a.fault(err)
	}
	if err := a.view.insert(a.parts, n, false); err != nil {
		return a.fault(err)
	}
	a.also(func(v *view) error {
		if n.Kind != tree.Directory {
			return v.insert(a.parts, n, false)
		}
		own := *n // its children may differ
		return v.insert(a.parts, &own, false)
	})
	if kind == tree.Regular {
		return a.content(n, hasHoles(hdr))
	}
	return nil
}

// content reads a regular file's content.
func (a *archive) content(n *tree.Node, holes bool) error {
	if a.opts.Progress != nil {
		defer a.opts.Progress(int64(n.Size))
	}
	r := &contentReader{r: a.tar, s: a.stream, holes: holes}
	if n.Size <= tree.InlineMax {
		if n.Size == 0 {
			return nil
		}
		n.Inline = make([]byte, n.Size)
		if _, err := io.ReadFull(r, n.Inline); err != nil {
			return a.fault(explain(err))
		}
		return nil
	}
	if a.opts.Tee != nil {
		r.tee = a.opts.Tee(a.view.at(a.parts[len(a.parts)-1]), n)
	}
	if a.replay != nil && !holes {
		d, ok, err := a.replay.take(int64(n.Size))
		if err != nil {
			return a.fault(explain(err))
		}
		if ok {
			n.Object, n.Payload = d, d.ObjectPath()
			return nil
		}
	}
	put := func(j job) error { return a.pipeline.put(j, r) }
	j := job{node: n, entry: a.entries, name: a.name}
	var err error
	if a.recording == nil {
		err = put(j)
	} else {
		err = a.recording.content(&j, holes, put)
	}
	if err != nil {
		return a.fault(explain(err))
	}
	return nil
}

// link puts a further name of a file into the tree. The attributes in its header are
// ignored: they are the file's at the time when the archive was made.
func (a *archive) link(hdr *tar.Header) error {
	target, err := split(nil, hdr.Linkname)
	if err != nil {
		return a.faultf("hard link: %w", err)
	}
	link := func(v *view) error {
		n, err := v.lookup(target)
		switch {
		case err != nil:
			return fmt.Errorf("hard link to %.300q: %w", hdr.Linkname, err)
		case n == nil:
			return fmt.Errorf("hard link to %.300q: no such file came before it", hdr.Linkname)
		case n.Kind == tree.Directory:
			return fmt.Errorf("hard link to %.300q: that is a directory", hdr.Linkname)
		}
		return v.insert(a.parts, n, true)
	}
	if err := link(a.view); err != nil {
		return a.fault(err)
	}
	a.also(link)
	return nil
}

// whiteout hides files of lower layers. If it has content, nobody wants that; but much of it
// is no better inline in a recording than other content.
func (a *archive) whiteout(hdr *tar.Header) error {
	if a.recording != nil && kinds[hdr.Typeflag] == tree.Regular && hdr.Size > tree.InlineMax {
		if err := a.content(&tree.Node{Kind: tree.Regular, Size: uint64(hdr.Size)}, hasHoles(hdr)); err != nil {
			return err
		}
	}
	a.fork(a.parts)
	if err := a.view.whiteout(a.parts); err != nil {
		return a.fault(err)
	}
	a.also(func(v *view) error { return v.whiteout(a.parts) })
	return nil
}
