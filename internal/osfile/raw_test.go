package osfile_test

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
)

// sparseFile makes a file of 1 MiB: 64 KiB of holes, 64 KiB of data, holes.
func sparseFile(t *testing.T) (dir *os.File, name string) {
	t.Helper()
	dir = openTemp(t)
	f, err := os.Create(filepath.Join(dir.Name(), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, 1<<16)
	for i := range data {
		data[i] = 'x'
	}
	if _, err := f.WriteAt(data, 1<<16); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	return dir, "sparse"
}

func openRaw(t *testing.T, dir *os.File, name string) osfile.Raw {
	t.Helper()
	r, err := osfile.OpenRaw(int(dir.Fd()), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	var st unix.Stat_t
	if err := unix.Fstat(int(r.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	r.SetStat(&st)
	return r
}

func TestARawFileIsReadToItsEnd(t *testing.T) {
	dir := base(t)
	r := openRaw(t, dir, "plain")
	b := make([]byte, 10)
	if n, err := r.ReadAt(b, 1); n != 4 || err != io.EOF || string(b[:n]) != "lain" {
		t.Errorf("%d, %v: %q", n, err, b)
	}
	if n, err := r.ReadAt(b[:2], 1); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.ReadAt(b, -1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("before the beginning: %v", err)
	}
}

func TestOpenRawFollowsNoLinkAndWaitsForNobody(t *testing.T) {
	dir := base(t)
	if _, err := osfile.OpenRaw(int(dir.Fd()), "abs"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	openRaw(t, dir, "fifo")
}

func TestHolesAreFoundWhereTheyAre(t *testing.T) {
	dir, name := sparseFile(t)
	f, err := os.Open(filepath.Join(dir.Name(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw := openRaw(t, dir, name)
	for kind, source := range map[string]osfile.Source{"raw": &raw, "holed": osfile.Holed{File: f}} {
		sparse := osfile.Sparse(source)
		if sparse == nil {
			t.Fatalf("%s: it isn't known to have holes", kind)
		}
		for _, c := range []struct{ off, start, end int64 }{
			{0, 1 << 16, 1 << 17}, {1 << 16, 1 << 16, 1 << 17}, {1<<17 - 1, 1<<17 - 1, 1 << 17}, {1 << 17, 1 << 20, 1 << 20},
		} {
			if start, end, err := sparse.NextData(c.off); err != nil || start != c.start || end != c.end {
				t.Errorf("%s: from %d: %d to %d, %v, want %d to %d", kind, c.off, start, end, err, c.start, c.end)
			}
		}
	}
}

func TestAFileWithoutHolesIsReadAsItIs(t *testing.T) {
	raw := openRaw(t, base(t), "plain")
	if raw.HasHoles() || osfile.Sparse(&raw) != nil {
		t.Error("it is said to have holes")
	}
}

// A pipe can't be asked: all of it is taken for data, or the error says which file it is.
func TestWhatCantBeAskedForHolesIsNamed(t *testing.T) {
	raw := openRaw(t, base(t), "fifo")
	if start, end, err := raw.NextData(0); err == nil && (start != 0 || end != math.MaxInt64) || err != nil && !errors.As(err, new(*os.PathError)) {
		t.Errorf("%d to %d, %v", start, end, err)
	}
}
