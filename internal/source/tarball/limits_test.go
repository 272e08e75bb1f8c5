package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/internal/source/tarball"
)

// buffersMemory is what reading takes whatever the archive: buffers of the pipeline and
// of decompression.
const buffersMemory = 24 << 20

// Whatever an archive is full of, what is in use is bounded by Options.MaxEntries.
func TestMaxEntriesBoundsMemory(t *testing.T) {
	const most = 16_000
	for _, c := range []struct {
		name    string
		entries func(i int) entry
		upper   bool // the same names come in a second layer, with whiteouts of their own
	}{
		{"files", func(i int) entry { return file(fmt.Sprint(i), "") }, true},
		{"files in no order", func(i int) entry { return file(fmt.Sprint(uint32(i)*2654435761), "") }, true},
		{"content in the image", func(i int) entry { return file(fmt.Sprint(i), strings.Repeat("x", 64)) }, false},
		{"directories of one file", func(i int) entry { return file(fmt.Sprint(i, "/f"), "") }, true},
		{"deep directories without entries", func(i int) entry { return file(fmt.Sprint(i, strings.Repeat("/d", 2000)), "") }, true},
		{"long names", func(i int) entry { return file(fmt.Sprintf("%0250d", i), "") }, false},
		{"names that just count as one", func(i int) entry { return symlink(fmt.Sprintf("%0100d", i), strings.Repeat("t", 400)) }, false},
		{"long targets", func(i int) entry { return symlink(fmt.Sprint(i), strings.Repeat("t", 4000)) }, false},
		{"hard links", func(i int) entry {
			if i == 0 {
				return file("f", "")
			}
			return hardLink(fmt.Sprint(i), "f")
		}, true},
		{"many attributes", func(i int) entry {
			var records []string
			for k := range 20 {
				records = append(records, fmt.Sprint("SCHILY.xattr.user.", k), fmt.Sprint(i, k))
			}
			return file(fmt.Sprint(i), "").pax(records...)
		}, false},
		{"attributes of many names", func(i int) entry {
			return file(fmt.Sprint(i), "").pax(fmt.Sprint("SCHILY.xattr.user.", i), "")
		}, false},
		{"large attributes", func(i int) entry {
			return file(fmt.Sprint(i), "").pax("SCHILY.xattr.user.a", fmt.Sprint(i, strings.Repeat("v", 60000)))
		}, false},
		{"whiteouts of what never was", func(i int) entry { return file(fmt.Sprintf("d%d/.wh.x%d", i, i), "") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := inUse()
			b := tarball.NewBuilder(options(func(o *tarball.Options) { o.MaxEntries, o.Remark = most, func(error) {} }))
			layers := 1
			if c.upper {
				layers = 2
			}
			peak := before
			var err error
			for range layers {
				r := &weigher{r: endless(t, layers, most, c.entries, c.upper), peak: &peak}
				if err = b.Apply(context.Background(), r); err != nil {
					break
				}
			}
			if err != nil && !errors.Is(err, tarball.ErrTooMany) {
				t.Fatal(err)
			}
			peak = max(peak, inUse())
			if used := int64(peak) - int64(before); used > most*tarball.EntryMemory+buffersMemory {
				t.Errorf("%d bytes in use for %d entries, %d each", used, most, used/most)
			} else {
				t.Logf("%d bytes for each entry", used/most)
			}
			runtime.KeepAlive(b)
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A weigher looks how much memory is in use now and then.
type weigher struct {
	r    io.Reader
	read int
	peak *uint64
}

func (w *weigher) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.read += n; w.read > 8<<20 {
		w.read = 0
		*w.peak = max(*w.peak, inUse())
	}
	return n, err
}

// endless is an archive as it is made: as many entries as fill the layer's part of the
// limit, or more.
func endless(t *testing.T, layers, most int, entries func(int) entry, whiteout bool) io.Reader {
	r, pw := io.Pipe()
	t.Cleanup(func() { r.Close() })
	go func() {
		w := tar.NewWriter(pw)
		n := most/layers - 10
		for i := range n {
			e := entries(i)
			if err := w.WriteHeader(&e.Header); err != nil {
				pw.CloseWithError(err)
				return
			}
			_, _ = io.WriteString(w, e.content)
		}
		if whiteout {
			_ = w.WriteHeader(&tar.Header{Name: ".wh..wh..opq"})
		}
		pw.CloseWithError(w.Close())
	}()
	return r
}

func TestAnImpliedDirectoryCountsAsAnEntry(t *testing.T) {
	limit := func(n int64) func(*tarball.Options) { return func(o *tarball.Options) { o.MaxEntries = n } }
	b := archive(t, file("a/b/c/f", ""), file("a/b/c/g", ""), file("a/x/f", ""))
	if _, err := read(b, limit(7)); err != nil {
		t.Error(err)
	}
	if _, err := read(b, limit(6)); !errors.Is(err, tarball.ErrTooMany) || !strings.HasPrefix(err.Error(), `entry 3, "a/x/f": `) {
		t.Error(err)
	}
}

// zeroFile is an archive of one file of zeros, packed.
func zeroFile(t *testing.T, size int64, pack func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	z := pack(&b)
	w := tar.NewWriter(z)
	must(t, w.WriteHeader(&tar.Header{Name: "zeros", Size: size}))
	_, err := io.CopyN(w, zeros{}, size)
	must(t, errors.Join(err, w.Close(), z.Close()))
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWhatAnArchiveUnpacksToIsLimited(t *testing.T) {
	const size = 8 << 20
	packed := map[string][]byte{
		"gzip":          zeroFile(t, size, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"zstd":          zeroFile(t, size, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }),
		"a sparse file": sparse1("zeros", fmt.Sprint(size)),
	}
	for name, b := range packed {
		for _, most := range []int64{size + 20000, size - 20000} {
			_, err := read(b, func(o *tarball.Options) { o.MaxExpansion = most })
			var e *tarball.ExpansionError
			if large := most < size; large != errors.As(err, &e) || large != errors.Is(err, tarball.ErrTooLarge) || large && e.Limit != most {
				t.Errorf("%s of %d bytes, at most %d: %v", name, size, most, err)
			}
		}
	}
	// Two files are larger than one.
	two := append(sparse1("a", fmt.Sprint(size)), sparse1("b", fmt.Sprint(size))...)
	two = slicesDelete(two, len(two)/2-1024, len(two)/2)
	if _, err := read(two, func(o *tarball.Options) { o.MaxExpansion = size * 3 / 2 }); err == nil || !strings.HasPrefix(err.Error(), `entry 2, "b": `) {
		t.Error(err)
	}
}

// Layers share the limit: many that unpack to much are as bad as one.
func TestWhatLayersUnpackToIsLimitedTogether(t *testing.T) {
	layer := sparse1("a", "1000000")
	three := [][]byte{layer, layer, layer}
	if _, err := layered(three, func(o *tarball.Options) { o.MaxExpansion = 3_100_000 }); err != nil {
		t.Error(err)
	}
	if _, err := layered(three, func(o *tarball.Options) { o.MaxExpansion = 2_900_000 }); !errors.Is(err, tarball.ErrTooLarge) {
		t.Errorf("want ErrTooLarge, found %v", err)
	}
}

func slicesDelete(b []byte, from, to int) []byte { return append(b[:from:from], b[to:]...) }

// Without an option the limit grows with the archive: with its size if that is known,
// and otherwise with what has come so far.
func TestTheLimitOfExpansionGrowsWithTheArchive(t *testing.T) {
	huge := func(size int64) []byte { return sparse1("huge", fmt.Sprint(size)) }
	_, err := read(huge(1 << 40))
	var e *tarball.ExpansionError
	if want := int64(16<<30 + 64*len(huge(1<<40))); !errors.As(err, &e) || e.Limit != want {
		t.Errorf("found %v, want a limit of %d", err, want)
	}
	// A file whose size says that more is to come may be larger.
	name := filepath.Join(t.TempDir(), "large.tar")
	must(t, os.WriteFile(name, huge(17<<30), 0o600))
	must(t, os.Truncate(name, 32<<20))
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	if _, err := readFrom(context.Background(), f, options()); err != nil {
		t.Errorf("with the size of the file: %v", err)
	}
	if _, err := readFrom(context.Background(), io.MultiReader(bytes.NewReader(huge(17<<30))), options()); !errors.As(err, &e) {
		t.Errorf("without: %v", err)
	}
}
