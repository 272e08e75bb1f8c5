package repo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
	perm     atomic.Int32
	absent   [256]atomic.Bool // directories of objects that weren't there
	hashers  sync.Pool
	checkers sync.Pool
	memory   Memory // or nil

	mu      sync.Mutex
	pending map[verity.Digest]struct{} // staged, or about to be

	stored, present, bytes, damaged atomic.Int64

	named int64 // of the stored ones, by checkpoints
}

// Stats counts what went through a Stage.
type Stats struct {
	Stored  int64 `json:"stored"`  // objects that weren't there
	Present int64 `json:"present"` // objects that were
	Bytes   int64 `json:"bytes"`   // of the stored ones
	Damaged int64 `json:"damaged"` // stored ones in whose place there was something else
}

// Add adds what went through another Stage.
func (s *Stats) Add(o Stats) {
	s.Stored += o.Stored
	s.Present += o.Present
	s.Bytes += o.Bytes
	s.Damaged += o.Damaged
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
	return d, s.write(d, size, func(w osfile.Raw) error { return copyFile(w, f, size, d, scratch) })
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
	return s.write(d, int64(len(content)), func(w osfile.Raw) error {
		_, err := w.WriteAt(content, 0)
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
	err := s.create(tmp, func(f osfile.Raw) error {
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

// PutAs adds what write writes as the object with a digest. If that is another's content, the
// error is a verity.ErrMismatch, and nothing is added.
func (s *Stage) PutAs(d verity.Digest, write func(io.Writer) error) error {
	h := s.hashers.Get().(*verity.Hasher)
	defer s.hashers.Put(h)
	return s.putAs(d, func(f osfile.Raw) (int64, error) {
		w := newObjectWriter(f, h)
		if err := write(w); err != nil {
			return 0, err
		}
		if found := h.Sum(); found != d {
			return 0, fmt.Errorf("%w: found %s", verity.ErrMismatch, found.Hex())
		}
		return w.size, w.finish()
	})
}

// PutFileAs is PutAs for a file of size bytes. If the file system can, the object shares its
// blocks.
func (s *Stage) PutFileAs(d verity.Digest, f directory.Source, size int64) error {
	c := s.checkers.Get().(*checker)
	defer s.checkers.Put(c)
	return s.putAs(d, func(w osfile.Raw) (int64, error) { return size, copyFile(w, f, size, d, c.buf) })
}

// putAs adds what fill writes, once it has turned out to be right.
func (s *Stage) putAs(d verity.Digest, fill func(osfile.Raw) (size int64, err error)) error {
	tmp := "new-" + rand.Text()
	var size int64
	err := s.create(tmp, func(f osfile.Raw) (err error) {
		size, err = fill(f)
		return err
	})
	if err != nil {
		return errors.Join(err, s.root.Remove(tmp))
	}
	s.mu.Lock()
	_, taken := s.pending[d]
	s.pending[d] = struct{}{}
	s.mu.Unlock()
	if taken {
		return s.root.Remove(tmp)
	}
	if err := s.root.Rename(tmp, d.Hex()); err != nil {
		return err
	}
	return s.seal(d, size)
}

// Open opens an object that was put and isn't in the store yet.
func (s *Stage) Open(d verity.Digest) (*os.File, error) { return s.root.Open(d.Hex()) }

func (s *Stage) write(d verity.Digest, size int64, fill func(osfile.Raw) error) error {
	if err := s.create(d.Hex(), fill); err != nil {
		return fmt.Errorf("write object %s: %w", d.Hex(), err)
	}
	return s.seal(d, size)
}

func (s *Stage) create(name string, fill func(osfile.Raw) error) error {
	f, err := osfile.CreateRaw(int(s.scratch.lock.Fd()), s.root.Name(), name, uint32(s.store.layout.mode))
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = s.setPerm(f)
	}
	return errors.Join(err, f.Close())
}

// States of Stage.perm.
const (
	permUnknown int32 = iota
	permRight         // files have it when they are made
	permWrong         // the umask takes some of it away
)

// setPerm gives an object its permission bits, unless the first one had them when it was
// made.
func (s *Stage) setPerm(f osfile.Raw) error {
	want := uint32(s.store.layout.mode)
	if s.perm.Load() == permUnknown {
		found, err := f.Perm()
		if err != nil {
			return err
		}
		state := permWrong
		if found == want {
			state = permRight
		}
		s.perm.Store(state)
	}
	if s.perm.Load() == permRight {
		return nil
	}
	return f.SetPerm(want)
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
	if s.scratch == nil || s.stored.Load() == s.named {
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

// Checkpoint is Commit, after which the Stage goes on: a program that is killed then, or loses its
// power, keeps what it has stored so far. No Put may be running.
func (s *Stage) Checkpoint() error {
	stored := s.stored.Load()
	if stored == s.named {
		return nil
	}
	if err := s.Commit(); err != nil {
		return err
	}
	s.named = stored
	clear(s.pending)
	for i := range s.absent {
		s.absent[i].Store(false)
	}
	return s.open()
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
	err = unix.Renameat(int(s.scratch.lock.Fd()), d.Hex(), int(dir.Fd()), name)
	if errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("add object: %w", &osfile.KindError{Path: filepath.Join(s.store.root.Name(), target), Want: "a regular file", Found: fs.ModeDir})
	}
	if err != nil {
		return fmt.Errorf("add object: %w", &os.LinkError{Op: "rename", Old: s.scratch.dir + "/" + d.Hex(), New: target, Err: err})
	}
	s.store.note(target)
	return nil
}
