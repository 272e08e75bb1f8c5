package digestcache_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/store/digestcache"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// later is a time at which files that a test has just made are old enough to be
// remembered.
func later() time.Time { return time.Now().Add(2 * digestcache.Settled) }

// disk returns a directory on a file system with reliable change times.
func disk(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return dir
	}
	t.Skipf("%s is on a file system of type %#x, whose files aren't remembered", dir, fs.Type)
	return ""
}

func open(t *testing.T, path string) *digestcache.Cache {
	t.Helper()
	c, err := digestcache.Open(path, verity.SHA256, later())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t *testing.T, c *digestcache.Cache) {
	t.Helper()
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
}

// visit calls a Cache with an open file.
func visit(t *testing.T, name string, do func(fd int, st *unix.Stat_t)) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	do(int(f.Fd()), &st)
}

func keep(t *testing.T, c *digestcache.Cache, name string, d verity.Digest) {
	t.Helper()
	visit(t, name, func(fd int, st *unix.Stat_t) { c.Keep(fd, st, d) })
}

func find(t *testing.T, c *digestcache.Cache, name string) (d verity.Digest, ok bool) {
	t.Helper()
	visit(t, name, func(fd int, st *unix.Stat_t) { d, ok = c.Find(fd, st) })
	return d, ok
}

func file(t testing.TB, dir, name, content string) (string, verity.Digest) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, verity.Sum(verity.SHA256, []byte(content))
}

func TestADigestIsFoundUntilTheFileChanges(t *testing.T) {
	changes := []struct {
		name   string
		change func(path string) error
		found  bool
	}{
		{"nothing", func(string) error { return nil }, true},
		{"reading", func(path string) error { _, err := os.ReadFile(path); return err }, true},
		{"content of the same size, time put back", func(path string) error {
			st, _ := os.Stat(path)
			os.WriteFile(path, []byte("CONTENT"), 0o644)
			return os.Chtimes(path, st.ModTime(), st.ModTime())
		}, false},
		{"another file of the same size and time in its place", func(path string) error {
			st, _ := os.Stat(path)
			os.WriteFile(path+".new", []byte("CONTENT"), 0o644)
			os.Chtimes(path+".new", st.ModTime(), st.ModTime())
			return os.Rename(path+".new", path)
		}, false},
		{"longer content", func(path string) error { return os.WriteFile(path, []byte("content and more"), 0o644) }, false},
		{"owner or mode", func(path string) error { return os.Chmod(path, 0o600) }, false},
	}
	for _, test := range changes {
		t.Run(test.name, func(t *testing.T) {
			dir := disk(t)
			at := filepath.Join(dir, "cache")
			path, want := file(t, dir, "file", "content")
			c := open(t, at)
			if _, ok := find(t, c, path); ok {
				t.Fatal("found before it was kept")
			}
			keep(t, c, path, want)
			save(t, c)
			time.Sleep(20 * time.Millisecond) // more than the kernel's tick
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			if d, ok := find(t, open(t, at), path); ok != test.found || ok && d != want {
				t.Errorf("found %v %s, want %v %s", ok, d, test.found, want)
			}
		})
	}
}

func TestAFileThatHasJustChangedIsNotRemembered(t *testing.T) {
	dir := disk(t)
	at := filepath.Join(dir, "cache")
	path, d := file(t, dir, "file", "content")
	for name, now := range map[string]time.Time{
		"just now": time.Now(), "too short a time ago": time.Now().Add(digestcache.Settled - 10*time.Second),
		"in the future": time.Now().Add(-time.Hour),
	} {
		c, err := digestcache.Open(at, verity.SHA256, now)
		if err != nil {
			t.Fatal(err)
		}
		keep(t, c, path, d)
		save(t, c)
		if _, ok := find(t, open(t, at), path); ok {
			t.Errorf("%s: it is remembered", name)
		}
	}
}

func TestFilesOfOtherBuildsAreKeptAndReplacedOnesAreNot(t *testing.T) {
	dir := disk(t)
	at := filepath.Join(dir, "cache")
	one, oneDigest := file(t, dir, "one", "content of one")
	two, twoDigest := file(t, dir, "two", "content of two")
	for path, d := range map[string]verity.Digest{one: oneDigest, two: twoDigest} {
		c := open(t, at)
		keep(t, c, path, d)
		save(t, c)
	}
	_, oneDigest = file(t, dir, "one", "other content of one")
	c := open(t, at)
	keep(t, c, one, oneDigest)
	save(t, c)
	c = open(t, at)
	for path, want := range map[string]verity.Digest{one: oneDigest, two: twoDigest} {
		if d, ok := find(t, c, path); !ok || d != want {
			t.Errorf("%s: found %v %s, want %s", path, ok, d, want)
		}
	}
	if c.Found() != 2 {
		t.Errorf("counted %d, want 2", c.Found())
	}
	if st, err := os.Stat(at); err != nil || st.Mode() != 0o600 || st.Size() != int64(15+1+2*(60+32)+32) {
		t.Errorf("the file: %v, %v", st, err)
	}
}

func TestACacheThatCannotBeTrustedIsNotUsed(t *testing.T) {
	dir := disk(t)
	good := filepath.Join(dir, "good")
	path, d := file(t, dir, "file", "content")
	c := open(t, good)
	keep(t, c, path, d)
	save(t, c)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	body := len(text) - sha256.Size
	resum := func(b []byte) []byte { sum := sha256.Sum256(b); return append(b, sum[:]...) }
	tests := []struct {
		name string
		text []byte
		mode os.FileMode
		want string
	}{
		{"empty", nil, 0o600, "isn't one"},
		{"cut short", text[:len(text)-1], 0o600, "damaged"},
		{"a changed digest", append(bytes.Replace(text[:body:body], d.Bytes()[:1], []byte{^d.Bytes()[0]}, 1), text[body:]...), 0o600, "damaged"},
		{"another version", append([]byte("composefs-dc 2"), text[14:]...), 0o600, "another version"},
		{"another algorithm", append(append(bytes.Clone(text[:15]), 2), text[16:]...), 0o600, "digests"},
		{"part of a record", resum(bytes.Clone(text[:body-1])), 0o600, "records of"},
		{"a record twice", resum(append(bytes.Clone(text[:body]), text[16:body]...)), 0o600, "out of order"},
		{"writable by others", text, 0o622, "others can write"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			at := filepath.Join(dir, "bad")
			os.Remove(at)
			if err := os.WriteFile(at, test.text, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Chmod(at, test.mode)
			c, err := digestcache.Open(at, verity.SHA256, later())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), at) {
				t.Errorf("found %v, want %q", err, test.want)
			}
			if _, ok := find(t, c, path); ok {
				t.Error("it was used")
			}
			keep(t, c, path, d)
			save(t, c)
			if _, ok := find(t, open(t, at), path); !ok {
				t.Error("it wasn't replaced")
			}
		})
	}
}

// A slip such as --cache mine.key must not cost the key.
func TestACacheTakesThePlaceOfNoOtherFile(t *testing.T) {
	for _, text := range []string{"untrusted comment: a key\n", "composefs-dc", "x", "\x7fELF"} {
		for _, mode := range []os.FileMode{0o600, 0o666} {
			at := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			os.Chmod(at, mode)
			c, err := digestcache.Open(at, verity.SHA256, later())
			if c != nil || !errors.Is(err, digestcache.ErrOther) || !strings.Contains(err.Error(), at) {
				t.Errorf("%q: found %v, %v", text, c, err)
			}
			if now, err := os.ReadFile(at); err != nil || string(now) != text {
				t.Errorf("%q became %q, %v", text, now, err)
			}
		}
	}
}

func TestOtherFileSystemsDoNotCount(t *testing.T) {
	testutil.RequireFile(t, "/dev/shm")
	dir, err := os.MkdirTemp("/dev/shm", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, d := file(t, dir, "file", "content")
	at := filepath.Join(t.TempDir(), "cache")
	c := open(t, at)
	keep(t, c, path, d)
	save(t, c)
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("a file on a tmpfs was remembered: %v", err)
	}
}

func TestAReadingCountsTheFilesThatAreNotRemembered(t *testing.T) {
	dir := disk(t)
	path, d := file(t, dir, "file", "content")
	now, err := digestcache.Open(filepath.Join(dir, "cache"), verity.SHA256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		cache        *digestcache.Cache
		path         string
		fresh, unfit int64
	}{
		{"a file that has changed long ago", open(t, filepath.Join(dir, "cache")), path, 0, 0},
		{"a file that has just changed", now, path, 1, 0},
		{"a file on another file system", now, "/proc/self/maps", 0, 1},
	} {
		r := c.cache.NewReading()
		visit(t, c.path, func(fd int, st *unix.Stat_t) { r.Keep(fd, st, d) })
		if r.Fresh() != c.fresh || r.Unfit() != c.unfit {
			t.Errorf("%s: %d too fresh, %d on unfit file systems", c.name, r.Fresh(), r.Unfit())
		}
	}
}
