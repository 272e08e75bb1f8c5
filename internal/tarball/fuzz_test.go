package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/composefs-go/composefs/internal/tarball"
	"github.com/composefs-go/composefs/internal/tree"
)

// Any bytes give an error or a valid tree, in memory that their number bounds, and
// however they come in.
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
	for _, s := range sparseArchives {
		f.Add(s())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limit := func(o *tarball.Options) { o.MaxEntries, o.MaxHoles = 1<<16, 1<<20 }
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		root, err := read(b, limit)
		runtime.ReadMemStats(&after)
		packed := bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || len(b) > 3 && (string(b[1:4]) == "\xb5\x2f\xfd" || string(b[1:4]) == "\x2a\x4d\x18")
		if used := after.TotalAlloc - before.TotalAlloc; !packed && used > 16*uint64(len(b))+16<<20 {
			t.Errorf("%d bytes of input took %d bytes of memory", len(b), used)
		}
		if err != nil {
			return
		}
		if err := tree.Check(root); err != nil {
			t.Error(err)
		}
		again, err := tarball.Read(context.Background(), iotest.HalfReader(bytes.NewReader(b)), options(limit))
		if err != nil || list(again) != list(root) {
			t.Errorf("in small pieces: %v", err)
		}
	})
}
