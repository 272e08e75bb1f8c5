package repo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// A Stage takes new objects until Commit puts them all into the store. Its
// Put methods may be called concurrently.
type Stage struct {
	store    *Store
	scratch  *scratch    // nil when it is over
	root     *os.Root    // of scratch
	noVerity atomic.Bool // the file system has no fs-verity, and may lack it
	hashers  sync.Pool
	checkers sync.Pool
	memory   Memory // or nil

	mu      sync.Mutex
	pending map[verity.Digest]struct{} // staged, or about to be

	stored, present, bytes, damaged atomic.Int64
}

// Stats counts what went through a Stage.
type Stats struct {
	Stored  int64 `json:"stored"`  // objects that weren't there
	Present int64 `json:"present"` // objects that were
	Bytes   int64 `json:"bytes"`   // of the stored ones
	Damaged int64 `json:"damaged"` // stored ones in whose place there was something else
}

// Begin makes a Stage. Either Commit or Abort ends it.
func (s *Store) Begin() (*Stage, error) {
	g := &Stage{store: s, pending: make(map[verity.Digest]struct{})}
	g.hashers.New = func() any { return verity.NewHasher(s.algorithm) }
	g.checkers.New = func() any { return newChecker(s.algorithm) }
	if err := g.open(); err != nil {
		return nil, fmt.Errorf("prepare to add objects: %w", err)
	}
	return g, nil
}

func (s *Stage) open() (err error) {
	s.store.sweep()
	if s.scratch, err = s.store.newScratch(); err != nil {
		return err
	}
	if s.root, err = s.store.root.OpenRoot(s.scratch.dir); err != nil {
		s.scratch.remove()
	}
	return err
}

// Abort forgets everything that was put. After Commit it does nothing.
func (s *Stage) Abort() {
	if s.scratch == nil {
		return
	}
	s.root.Close()
	s.scratch.remove()
	s.scratch = nil
}

// Stats returns the counts so far.
func (s *Stage) Stats() Stats {
	return Stats{s.stored.Load(), s.present.Load(), s.bytes.Load(), s.damaged.Load()}
}

// needs reports whether the object must be written by the caller: the store
// doesn't have it, and nobody else is about to write it.
func (s *Stage) needs(d verity.Digest, size int64, content []byte) bool {
	if s.holds(d, size, content) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, taken := s.pending[d]
	s.pending[d] = struct{}{}
	return !taken
}

// Holds reports whether the store has the object, whole and right, and counts it as
// put if so.
func (s *Stage) Holds(d verity.Digest, size int64) bool { return s.holds(d, size, nil) }

// holds is Holds that is told the content, if it is at hand.
func (s *Stage) holds(d verity.Digest, size int64, content []byte) bool {
	if !s.intact(d, size, content) {
		return false
	}
	s.present.Add(1)
	return true
}

// PutFile adds the content of f, size bytes, and returns its digest; see
// directory.Sink. Holes stay holes. An f that has fewer bytes is an io.EOF or verity.ErrTruncated.
func (s *Stage) PutFile(f directory.Source, size int64, scratch []byte) (verity.Digest, error) {
	h := s.hashers.Get().(*verity.Hasher)
	defer s.hashers.Put(h)
	if osfile.Sparse(f) == nil && size <= int64(len(scratch)) {
		if n, err := f.ReadAt(scratch[:size], 0); int64(n) < size {
			return verity.Digest{}, err
		}
		d := h.SumBuffer(scratch, int(size))
		return d, s.put(d, scratch[:size])
	}
	d, err := sumFile(h, f, size, scratch)
	if err != nil || !s.needs(d, size, nil) {
		return d, err
	}
	return d, s.write(d, size, func(w *os.File) error { return copyFile(w, f, size, d, scratch) })
}

// PutBytes adds content as an object and returns its digest.
func (s *Stage) PutBytes(content []byte) (verity.Digest, error) {
	h := s.hashers.Get().(*verity.Hasher)
	defer s.hashers.Put(h)
	h.Reset()
	h.Write(content)
	d := h.Sum()
	return d, s.put(d, content)
}

// put adds content, whose digest is d, if it is needed.
func (s *Stage) put(d verity.Digest, content []byte) error {
	if !s.needs(d, int64(len(content)), content) {
		return nil
	}
	return s.write(d, int64(len(content)), func(w *os.File) error {
		_, err := w.Write(content)
		return err
	})
}

// Put adds what write writes as an object and returns its digest and size. The Writer
// has WriteZeros(n int64) (int64, error) too, for holes.
func (s *Stage) Put(write func(io.Writer) error) (verity.Digest, int64, error) {
	tmp := "new-" + rand.Text()
	h := s.hashers.Get().(*verity.Hasher)
	defer s.hashers.Put(h)
	var size int64
	err := s.create(tmp, func(f *os.File) error {
		w := newObjectWriter(f, h)
		if err := write(w); err != nil {
			return err
		}
		size = w.size
		return w.finish()
	})
	if err != nil {
		return verity.Digest{}, 0, fmt.Errorf("write object: %w", err)
	}
	d := h.Sum()
	if !s.needs(d, size, nil) {
		return d, size, s.root.Remove(tmp)
	}
	if err := s.root.Rename(tmp, d.Hex()); err != nil {
		return d, size, err
	}
	return d, size, s.seal(d, size)
}

func (s *Stage) write(d verity.Digest, size int64, fill func(*os.File) error) error {
	if err := s.create(d.Hex(), fill); err != nil {
		return fmt.Errorf("write object %s: %w", d.Hex(), err)
	}
	return s.seal(d, size)
}

func (s *Stage) create(name string, fill func(*os.File) error) error {
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(s.store.layout.mode)
	}
	return errors.Join(err, f.Close())
}

// seal turns fs-verity on for a staged object, where the file system has it.
func (s *Stage) seal(d verity.Digest, size int64) error {
	s.stored.Add(1)
	s.bytes.Add(size)
	if s.noVerity.Load() {
		return nil
	}
	f, err := s.root.Open(d.Hex())
	if err != nil {
		return err
	}
	defer f.Close()
	err = verity.Enable(f, d.Algorithm())
	if errors.Is(err, verity.ErrUnsupported) && !s.store.secure {
		s.noVerity.Store(true)
		return nil
	}
	if err != nil {
		return fmt.Errorf("turn fs-verity on for object %s: %w", d.Hex(), err)
	}
	if have, err := verity.Measure(f, d.Algorithm()); err != nil || have != d {
		return fmt.Errorf("measure object %s: %w: found %s", d.Hex(), errors.Join(verity.ErrMismatch, err), have)
	}
	return nil
}

// Keep forgets what was put and isn't wanted, as if it had never been: of a source
// that is read as it comes, it turns out in the end what is in the image. No Put may
// run meanwhile.
func (s *Stage) Keep(wanted map[verity.Digest]struct{}) error {
	for d := range s.pending {
		if _, ok := wanted[d]; ok {
			continue
		}
		st, err := s.root.Stat(d.Hex())
		if err == nil {
			err = s.root.Remove(d.Hex())
		}
		if err != nil {
			return fmt.Errorf("drop object %s, which the image doesn't have: %w", d.Hex(), err)
		}
		delete(s.pending, d)
		s.stored.Add(-1)
		s.bytes.Add(-st.Size())
	}
	return nil
}

// Commit puts all objects into the store and makes them durable.
func (s *Stage) Commit() error {
	defer s.Abort()
	if s.stored.Load() == 0 {
		return nil
	}
	// First the contents, then their names: a crash in between leaves no object
	// that is shorter than its digest says.
	if err := s.store.sync(); err != nil {
		return err
	}
	for d := range s.pending {
		if err := s.move(d); err != nil {
			return err
		}
	}
	return s.store.sync()
}

// move puts an object into its place. A symbolic link on the way there is refused:
// overlayfs wouldn't find the object behind it.
func (s *Stage) move(d verity.Digest) error {
	target := s.store.layout.object(d)
	dir, name, err := s.store.place(d)
	if errors.Is(err, fs.ErrNotExist) {
		root := s.store.root
		if err := root.Mkdir(s.store.layout.objects, 0o700); err != nil && !exists(err) {
			return fmt.Errorf("add object: %w", err)
		}
		if err := root.Mkdir(path.Dir(target), 0o755); err != nil && !exists(err) {
			return fmt.Errorf("add object: %w", err)
		}
		dir, name, err = s.store.place(d)
	}
	if err != nil {
		return fmt.Errorf("add object: %w", err)
	}
	if err := unix.Renameat(int(s.scratch.lock.Fd()), d.Hex(), int(dir.Fd()), name); err != nil {
		return fmt.Errorf("add object: %w", &os.LinkError{Op: "rename", Old: s.scratch.dir + "/" + d.Hex(), New: target, Err: err})
	}
	s.store.note(target)
	return nil
}
