package repo

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// A Memory knows the digests of files that haven't changed since they were read. It
// must be safe for concurrent use; st is what fstat says of the open file fd.
type Memory interface {
	Find(fd int, st *unix.Stat_t) (verity.Digest, bool)
	Keep(fd int, st *unix.Stat_t, d verity.Digest)
}

// Remember has the Stage believe m about objects that it would otherwise read.
func (s *Stage) Remember(m Memory) { s.memory = m }

// A checker is what it takes to hash an object.
type checker struct {
	hasher *verity.Hasher
	buf    []byte
}

const checkerBuffer = 256 << 10

func newChecker(alg verity.Algorithm) *checker {
	return &checker{verity.NewHasher(alg), make([]byte, checkerBuffer)}
}

// has reports whether an object has the content that it should have. If that is at
// hand, it is compared, which takes a fraction of the time of hashing.
func (c *checker) has(f *osfile.Raw, d verity.Digest, content []byte, size int64) bool {
	if content == nil || int64(len(content)) != size || size > int64(len(c.buf)) {
		have, err := sumFile(c.hasher, f, size, c.buf)
		return err == nil && have == d
	}
	n, _ := f.ReadAt(c.buf[:size], 0)
	return bytes.Equal(c.buf[:n], content)
}

// intact reports whether the store has the object and its content is right. One that
// is there and wrong is counted, and will be written anew. content is what it should
// hold, nil if that isn't at hand. The kernel vouches for an
// object with fs-verity; any other one is read: a build that leaves a damaged object
// because there is something of that name would leave an image that doesn't work.
func (s *Stage) intact(d verity.Digest, size int64, content []byte) bool {
	// In a new repository no object is there, nor the directory that it would be in.
	shard := firstByte(d)
	if s.absent[shard].Load() {
		return false
	}
	var st unix.Stat_t
	if !s.store.stat(d, &st) {
		if s.store.shards[shard].Load() == nil {
			s.absent[shard].Store(true)
		}
		return false
	}
	ok := st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == size
	if ok {
		ok = s.vouchedFor(d, content)
	}
	if !ok {
		s.damaged.Add(1)
	}
	return ok
}

// vouchedFor asks the kernel about an object, or else reads it.
func (s *Stage) vouchedFor(d verity.Digest, content []byte) bool {
	if !s.noVerity.Load() {
		have, err := s.store.measure(d)
		switch {
		case err == nil:
			return have == d
		case s.store.secure:
			return false
		case errors.Is(err, verity.ErrUnsupported):
			s.noVerity.Store(true)
		case !errors.Is(err, verity.ErrNotEnabled):
			return false
		}
	}
	return s.holdsContent(d, content)
}

func (s *Store) measure(d verity.Digest) (verity.Digest, error) {
	f, err := s.OpenObject(d)
	if err != nil {
		return verity.Digest{}, err
	}
	defer f.Close()
	return verity.Measure(f, d.Algorithm())
}

// holdsContent reads an object, unless it was read before and hasn't changed since.
func (s *Stage) holdsContent(d verity.Digest, content []byte) bool {
	f, err := s.store.openRaw(d)
	if err != nil {
		return false
	}
	defer f.Close()
	fd := int(f.Fd())
	var before, after unix.Stat_t
	if unix.Fstat(fd, &before) != nil {
		return false
	}
	f.SetStat(&before)
	if s.memory != nil {
		if have, ok := s.memory.Find(fd, &before); ok {
			return have == d
		}
	}
	c := s.checkers.Get().(*checker)
	defer s.checkers.Put(c)
	if !c.has(&f, d, content, before.Size) {
		return false
	}
	// Only what nobody wrote to meanwhile is worth remembering.
	if s.memory != nil && unix.Fstat(fd, &after) == nil && before.Ctim == after.Ctim && before.Mtim == after.Mtim && before.Size == after.Size {
		s.memory.Keep(fd, &before, d)
	}
	return true
}

// openRaw opens an object, through no symbolic link.
func (s *Store) openRaw(d verity.Digest) (osfile.Raw, error) {
	dir, name, err := s.place(d)
	if err != nil {
		return osfile.Raw{}, err
	}
	return osfile.OpenRaw(int(dir.Fd()), name)
}
