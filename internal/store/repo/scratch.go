package repo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/composefs-go/composefs/internal/osfile"
)

// A scratch is a directory below tmp for what has no final name yet. Its maker holds
// its lock, which says to others that it isn't to be swept away.
type scratch struct {
	store *Store
	dir   string // below the store
	lock  *os.File
}

// scratchTries is how often a new directory may be swept away before its lock is
// taken. Each process sweeps once, so that it is as many as start at the same moment.
const scratchTries = 10_000

// newScratch makes a scratch. Between the making of a directory and its locking
// another process may sweep it away: that isn't an error, it is tried again.
func (s *Store) newScratch() (*scratch, error) {
	for range scratchTries {
		if err := s.root.Mkdir(s.layout.tmp, 0o700); err != nil && !exists(err) {
			return nil, err
		}
		g := &scratch{store: s, dir: path.Join(s.layout.tmp, s.layout.build+rand.Text())}
		err := s.root.Mkdir(g.dir, 0o700)
		if err == nil {
			g.lock, err = s.root.Open(g.dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		held, err := g.hold()
		if held {
			return g, nil
		}
		g.lock.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("make a directory in %s: others remove it every time", s.layout.tmp)
}

// hold takes the lock, and reports whether the directory is still there then.
func (g *scratch) hold() (bool, error) {
	free, err := osfile.TryLock(g.lock, true)
	if !free || err != nil {
		return false, err
	}
	ours, err := g.lock.Stat()
	if err != nil {
		return false, err
	}
	there, err := g.store.root.Lstat(g.dir)
	return err == nil && os.SameFile(ours, there), nil
}

// remove removes the directory with what is in it. The lock is given up after that.
func (g *scratch) remove() {
	g.store.root.RemoveAll(g.dir)
	g.lock.Close()
}

// sweep removes what killed builds left behind: their locks are free.
func (s *Store) sweep() {
	tmp, err := s.openDir(s.layout.tmp)
	if err != nil {
		return
	}
	defer tmp.Close()
	left, err := tmp.ReadDir(-1)
	if err != nil {
		return
	}
	for _, e := range left {
		name := path.Join(s.layout.tmp, e.Name())
		if !strings.HasPrefix(e.Name(), s.layout.build) {
			continue
		}
		dir, err := s.openDir(name)
		if err != nil {
			continue
		}
		if free, _ := osfile.TryLock(dir, true); free {
			s.root.RemoveAll(name)
		}
		dir.Close()
	}
}
