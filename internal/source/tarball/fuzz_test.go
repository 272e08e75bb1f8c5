package tarball_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// Any bytes give an error or a valid tree, in memory that their number bounds, however
// they come in; and archived again the tree is the same.
func FuzzRead(f *testing.F) {
	seeds := [][]entry{
		{dir("./"), file("a", long), hardLink("b", "a"), symlink("c", "a"), file("d/e", "1"), file(".wh.a", "")},
		{other(tar.TypeChar, "c"), other(tar.TypeBlock, "b"), other(tar.TypeFifo, "f"), dir("d"), file("d/.wh..wh..opq", "")},
		{file(strings.Repeat("n", 200), long).pax("SCHILY.xattr.user.a", "1", "SCHILY.acl.access", "user::rwx,user:7:r--,group::---,mask::r--,other::---")},
		{file("t", "").with(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatPAX, time.Unix(-2, 5) })},
		{file("g", "").with(func(h *tar.Header) { h.Format, h.Name = tar.FormatGNU, strings.Repeat("d/", 150)+"g" })},
	}
	for _, s := range seeds {
		f.Add(archive(f, s...))
	}
	f.Add(gzipped(f, archive(f, seeds[0]...)))
	f.Add(zstded(f, archive(f, seeds[0]...)))
	for _, s := range sparseArchives {
		f.Add(s())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		unpacked, besides := unpackedSize(b)
		if unpacked > 1<<20 {
			return // takes too long
		}
		limit := func(o *tarball.Options) { o.MaxEntries, o.MaxExpansion = 1<<16, 1<<22 }
		var root *tree.Node
		var err error
		testutil.BoundMemory(t, unpacked+besides, func() { root, err = read(b, limit) })
		if err != nil {
			if !errors.Is(err, tarball.ErrArchive) {
				t.Errorf("want ErrArchive, found %v", err)
			}
			return
		}
		if err := tree.Check(root); err != nil {
			t.Fatal(err)
		}
		again, err := readFrom(context.Background(), iotest.HalfReader(bytes.NewReader(b)), options(limit))
		if err != nil || list(again) != list(root) {
			t.Fatalf("in small pieces: %v", err)
		}
		checkArchivedAgain(t, b, limit)
		checkRecorded(t, b, limit)
		checkAsLayer(t, b, limit)
	})
}

// checkAsLayer reads an archive on top of another one by the other rules too.
func checkAsLayer(t *testing.T, b []byte, limit func(*tarball.Options)) {
	t.Helper()
	lower := archive(t, dir("d"), file("d/f", "1"), file("a", "1"), symlink("c", "d"), symlink("l", "/../d/."), symlink("m", "m"))
	for _, how := range []func(*tarball.Options){follow, inOrder, func(o *tarball.Options) { follow(o); inOrder(o) }} {
		var said []error
		root, err := layered([][]byte{lower, b}, limit, how, remarks(&said))
		if err != nil && !errors.Is(err, tarball.ErrArchive) {
			t.Errorf("want ErrArchive, found %v", err)
		}
		if err == nil {
			if err := tree.Check(root); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// zstdWindows is worth the memory that a frame of zstd may ask for, however short it
// is: a window of 128 MiB, twice. What isn't filled of it is never touched.
const zstdWindows = 2 * 128 << 20 / 16

// unpackedSize returns how many bytes an archive has without its compression, or the
// first megabytes of it, and at least its length; and what that may cost besides.
func unpackedSize(b []byte) (size, besides int) {
	const most = 2 << 20
	var r io.Reader
	switch z, err := gzip.NewReader(bytes.NewReader(b)); {
	case err == nil:
		r = z
	case len(b) > 3 && (string(b[1:4]) == "\xb5\x2f\xfd" || string(b[1:4]) == "\x2a\x4d\x18"):
		besides = zstdWindows
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return len(b), besides
		}
		defer z.Close()
		r = z
	default:
		return len(b), 0
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(r, most))
	return max(int(n), len(b)), besides
}

// A keeper is a Sink that keeps contents.
type keeper struct {
	*directory.Digests
	mu       sync.Mutex
	contents map[verity.Digest]string
}

func (k *keeper) PutBytes(content []byte) (verity.Digest, error) {
	d, _, err := k.Put(func(w io.Writer) error { _, err := w.Write(content); return err })
	return d, err
}

func (k *keeper) Put(write func(io.Writer) error) (verity.Digest, int64, error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return verity.Digest{}, 0, err
	}
	d := verity.Sum(verity.SHA256, b.Bytes())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.contents[d] = b.String()
	return d, int64(b.Len()), nil
}

// checkArchivedAgain writes the tree of an archive that can be read as another
// archive, which must have the same tree.
func checkArchivedAgain(t *testing.T, b []byte, limit func(*tarball.Options)) {
	t.Helper()
	k := &keeper{contents: make(map[verity.Digest]string)}
	keep := func(o *tarball.Options) { o.Sink = k }
	root, err := read(b, limit, keep)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	originals := make(map[*tree.Node]string)
	for path, e := range tree.Walk(root) {
		if e.Link {
			entries = append(entries, hardLink(path, originals[e.Node]))
			continue
		}
		originals[e.Node] = path
		entries = append(entries, asTarEntry(path, e.Node, k.contents))
	}
	again, err := read(archive(t, entries...), keep)
	if err != nil {
		t.Fatalf("archived again: %v\n%s", err, list(root))
	}
	for difference := range treediff.Trees(root, again) {
		t.Errorf("archived again, the tree changed (A was first): %v", difference)
	}
}

var typeFlags = map[tree.Kind]byte{
	tree.Regular: tar.TypeReg, tree.Directory: tar.TypeDir, tree.Symlink: tar.TypeSymlink,
	tree.CharDevice: tar.TypeChar, tree.BlockDevice: tar.TypeBlock, tree.FIFO: tar.TypeFifo,
}

func asTarEntry(path string, n *tree.Node, contents map[verity.Digest]string) entry {
	e := entry{Header: tar.Header{
		Format: tar.FormatPAX, Typeflag: typeFlags[n.Kind], Name: path, Linkname: n.Target, Mode: int64(n.Perm),
		Uid: int(n.UID), Gid: int(n.GID), ModTime: time.Unix(n.Mtime.Sec, int64(n.Mtime.Nsec)), PAXRecords: map[string]string{},
	}}
	if n.Kind == tree.Directory {
		e.Name = strings.TrimSuffix(path, "/") + "/"
	}
	if e.content = string(n.Inline); !n.Object.IsZero() {
		e.content = contents[n.Object]
	}
	e.Size = int64(len(e.content))
	if n.Kind == tree.CharDevice || n.Kind == tree.BlockDevice {
		e.Devmajor, e.Devminor = int64(n.Rdev>>8&0xfff), int64(n.Rdev&0xff|n.Rdev>>12&^0xff)
	}
	for _, x := range n.Xattrs() {
		e.PAXRecords["SCHILY.xattr."+strings.NewReplacer("%", "%25", "=", "%3D").Replace(x.Name)] = string(x.Value)
	}
	return e
}
