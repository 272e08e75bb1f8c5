package digestcache

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/verity"
)

// Settled is how long ago a file must have changed to be remembered. It is longer than
// the kernel takes to write back pages of a mapped file, which is a little over 30
// seconds.
const Settled = time.Minute

// A Cache holds the digests of one algorithm. Find and Keep may be called
// concurrently.
type Cache struct {
	path      string
	algorithm verity.Algorithm
	settled   unix.Timespec // the latest change time of a file that is remembered
	records   []byte        // as in the file
	unusable  bool          // the file can't be used and is to be replaced
	systems   sync.Map      // st_dev → fileSystem

	mu    sync.Mutex
	seen  []uint64 // bits: the records that were found
	fresh []byte   // records, in no order
	found int
}

// Open reads the cache at path, for a build that begins now. The Cache is usable even
// if there is an error, which says why nothing is known from before; a missing file
// isn't an error. With ErrOther there is no Cache: it would replace a file that was
// never a cache.
func Open(path string, alg verity.Algorithm, now time.Time) (*Cache, error) {
	c := &Cache{path: path, algorithm: alg, settled: unix.NsecToTimespec(now.Add(-Settled).UnixNano())}
	records, err := read(path, alg)
	if errors.Is(err, ErrOther) {
		return nil, fmt.Errorf("want a digest cache, or nothing, at %s: %w", path, err)
	}
	if c.unusable = err != nil; c.unusable {
		return c, fmt.Errorf("the digest cache %s isn't used and will be replaced: %w", path, err)
	}
	c.records, c.seen = records, make([]uint64, len(records)/recordSize(alg)/64+1)
	return c, nil
}

// Found returns how many digests Find has found.
func (c *Cache) Found() int { return c.found }

// Find returns the digest of the open file fd, if it is known from before and nothing
// has changed since. st is the result of fstat.
func (c *Cache) Find(fd int, st *unix.Stat_t) (verity.Digest, bool) {
	system := c.system(fd, st)
	if len(c.records) == 0 || !system.renewsChangeTime() {
		return verity.Digest{}, false
	}
	k := newKey(system, st)
	i, ok := c.search(k[:keyIdentity])
	if !ok || !bytes.Equal(c.record(i)[:keySize], k[:]) {
		return verity.Digest{}, false
	}
	d, err := verity.NewDigest(c.algorithm, c.record(i)[keySize:])
	if err != nil {
		return verity.Digest{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[i/64] |= 1 << (i % 64)
	c.found++
	return d, true
}

// Keep remembers the digest of the open file fd. st is the result of fstat, the same
// before and after the file was read.
func (c *Cache) Keep(fd int, st *unix.Stat_t, d verity.Digest) { c.keep(fd, st, d) }

// keep is Keep, and returns why the file wasn't remembered.
func (c *Cache) keep(fd int, st *unix.Stat_t, d verity.Digest) (why obstacle) {
	system := c.system(fd, st)
	switch {
	case d.Algorithm() != c.algorithm:
		return none
	case !system.renewsChangeTime():
		return fileSystemUnfit
	case !before(st.Ctim, c.settled):
		return tooFresh
	}
	k := newKey(system, st)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fresh) < maxRecords*recordSize(c.algorithm) {
		c.fresh = d.AppendBytes(append(c.fresh, k[:]...))
	}
	return none
}

// An obstacle is a reason why a file isn't remembered.
type obstacle uint8

const (
	none obstacle = iota
	tooFresh
	fileSystemUnfit
)

// A Reading is a Cache that counts the files of one directory tree that can't be
// remembered.
type Reading struct {
	*Cache
	fresh, unfit atomic.Int64
}

// NewReading returns a Reading that has counted nothing yet.
func (c *Cache) NewReading() *Reading { return &Reading{Cache: c} }

// Keep is Cache.Keep.
func (r *Reading) Keep(fd int, st *unix.Stat_t, d verity.Digest) {
	switch r.keep(fd, st, d) {
	case tooFresh:
		r.fresh.Add(1)
	case fileSystemUnfit:
		r.unfit.Add(1)
	}
}

// Fresh returns how many files had changed less than Settled before the build.
func (r *Reading) Fresh() int64 { return r.fresh.Load() }

// Unfit returns how many files are on file systems with unreliable change times.
func (r *Reading) Unfit() int64 { return r.unfit.Load() }

// Save writes the cache: the digests that were found and kept, and as many for other
// directories as there is room for.
func (c *Cache) Save() error {
	if len(c.fresh) == 0 && !c.unusable {
		return nil
	}
	if err := write(c.path, c.algorithm, c.merge()); err != nil {
		return fmt.Errorf("write the digest cache %s: %w", c.path, err)
	}
	return nil
}

// merge returns the records to write.
func (c *Cache) merge() []byte {
	size := recordSize(c.algorithm)
	var all [][]byte
	for r := range slices.Chunk(c.fresh, size) {
		all = append(all, r)
	}
	replaced := make(map[[keyIdentity]byte]struct{}, len(all))
	for _, r := range all {
		replaced[[keyIdentity]byte(r)] = struct{}{}
	}
	for _, wantSeen := range [...]bool{true, false} {
		for i := range len(c.records) / size {
			r := c.record(i)
			_, old := replaced[[keyIdentity]byte(r)]
			if seen := c.seen[i/64]>>(i%64)&1 == 1; seen == wantSeen && !old && len(all) < maxRecords {
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, bytes.Compare)
	all = slices.CompactFunc(all, func(a, b []byte) bool { return bytes.Equal(a[:keyIdentity], b[:keyIdentity]) })
	return slices.Concat(all...)
}

func (c *Cache) record(i int) []byte {
	return c.records[i*recordSize(c.algorithm):][:recordSize(c.algorithm)]
}

// search returns the record of a file.
func (c *Cache) search(identity []byte) (int, bool) {
	return sort.Find(len(c.records)/recordSize(c.algorithm), func(i int) int {
		return bytes.Compare(identity, c.record(i)[:keyIdentity])
	})
}

// system returns the file system that the file is on; the zero value if that is
// unknown.
func (c *Cache) system(fd int, st *unix.Stat_t) fileSystem {
	if s, ok := c.systems.Load(st.Dev); ok {
		return s.(fileSystem)
	}
	var fs unix.Statfs_t
	var s fileSystem
	if unix.Fstatfs(fd, &fs) == nil {
		s = fileSystem{uint32(fs.Type), fs.Fsid.Val}
	}
	c.systems.Store(st.Dev, s)
	return s
}

func before(a, b unix.Timespec) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }
