package repo_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// damages are what can be the matter with an object on a file system that doesn't
// watch over it.
var damages = map[string]func(path string, content []byte) error{
	"a byte changed": func(path string, content []byte) error {
		wrong := bytes.Clone(content)
		wrong[len(wrong)/2] ^= 1
		return os.WriteFile(path, wrong, 0o444)
	},
	"zeros, as after a power cut": func(path string, content []byte) error {
		return os.WriteFile(path, make([]byte, len(content)), 0o444)
	},
	"cut short": func(path string, content []byte) error { return os.WriteFile(path, content[:len(content)-1], 0o444) },
	"longer": func(path string, content []byte) error {
		return os.WriteFile(path, append(bytes.Clone(content), 0), 0o444)
	},
	"a link to the right content": func(path string, content []byte) error {
		if err := os.WriteFile(path+".right", content, 0o444); err != nil {
			return err
		}
		return os.Symlink(filepath.Base(path)+".right", path)
	},
	"a pipe": func(path string, _ []byte) error { return unix.Mkfifo(path, 0o444) },
}

// puts are the ways by which an object gets there.
var puts = map[string]func(t *testing.T, s *repo.Stage, content []byte) error{
	"PutBytes": func(_ *testing.T, s *repo.Stage, content []byte) error { _, err := s.PutBytes(content); return err },
	"PutFile": func(t *testing.T, s *repo.Stage, content []byte) error {
		_, err := s.PutFile(source(t, content), int64(len(content)), make([]byte, 64<<10))
		return err
	},
	"Put": func(_ *testing.T, s *repo.Stage, content []byte) error {
		_, _, err := s.Put(func(w io.Writer) error { _, err := w.Write(content); return err })
		return err
	},
}

func TestADamagedObjectIsWrittenAnew(t *testing.T) {
	for _, size := range []int{100, 5000, 300 << 10} {
		content := bytes.Repeat([]byte("0123456789"), size/10)
		d := verity.Sum(verity.SHA256, content)
		for damage, spoil := range damages {
			for way, put := range puts {
				r, dir := open(t)
				path := filepath.Join(dir, "objects", d.ObjectPath())
				store := func() repo.Stats {
					s := begin(t, r)
					if err := put(t, s, content); err != nil {
						t.Fatal(err)
					}
					if err := s.Commit(); err != nil {
						t.Fatal(err)
					}
					return s.Stats()
				}
				store()
				if st := store(); st.Stored != 0 || st.Present != 1 || st.Damaged != 0 {
					t.Errorf("%s: stored again: %+v", way, st)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := spoil(path, content); err != nil {
					t.Fatal(err)
				}
				st := store()
				if got, err := os.ReadFile(path); !bytes.Equal(got, content) || st.Damaged != 1 || st.Stored != 1 {
					t.Errorf("%s, %s, %d bytes: found %d bytes, %v, %+v", way, damage, size, len(got), err, st)
				}
				if info, err := os.Lstat(path); err != nil || info.Mode() != 0o444 {
					t.Errorf("%s, %s: it is %v, %v", way, damage, info, err)
				}
			}
		}
	}
}

// memory believes of a file what it was told when it had the same change time.
type memory struct {
	known        map[unix.Timespec]verity.Digest
	found, asked atomic.Int64
}

func (m *memory) Find(_ int, st *unix.Stat_t) (verity.Digest, bool) {
	m.asked.Add(1)
	d, ok := m.known[st.Ctim]
	if ok {
		m.found.Add(1)
	}
	return d, ok
}

func (m *memory) Keep(_ int, st *unix.Stat_t, d verity.Digest) { m.known[st.Ctim] = d }

func TestWhatIsRememberedOfAnObjectIsNotReadAgain(t *testing.T) {
	r, dir := open(t)
	content := bytes.Repeat([]byte("x"), 1000)
	d := put(t, r, content)
	m := &memory{known: map[unix.Timespec]verity.Digest{}}
	again := func() repo.Stats {
		s := begin(t, r)
		s.Remember(m)
		if !s.Holds(d, 1000) {
			put(t, r, content)
		}
		return s.Stats()
	}
	again()
	if again(); m.asked.Load() == 0 {
		t.Skip("the kernel vouches for objects here")
	}
	if m.found.Load() != 1 {
		t.Errorf("found %d times", m.found.Load())
	}
	path := filepath.Join(dir, "objects", d.ObjectPath())
	os.Chmod(path, 0o644)
	os.WriteFile(path, make([]byte, 1000), 0)
	if st := again(); st.Damaged != 1 || m.found.Load() != 1 {
		t.Errorf("after it was changed: %+v, found %d times", st, m.found.Load())
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Error("the object is still damaged")
	}
}
