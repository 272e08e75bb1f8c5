package repo

import (
	"fmt"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// A Store holds objects by their digests. It is what a Repo is made on, and by
// itself what mkcomposefs --digest-store fills: a directory with nothing but
// objects, xx/yyyy….
type Store struct {
	layout    *layout
	algorithm verity.Algorithm
	secure    bool // fs-verity is on for meta.json: each object must have it
	root      *os.Root
	lock      *os.File
	shards    shards

	noting bool // made is wanted
	mu     sync.Mutex
	made   []string // objects that this process has put there
}

// note remembers an object that was put there.
func (s *Store) note(name string) {
	if s.noting {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made = append(s.made, name)
	}
}

// A layout says where in a Store objects lie.
type layout struct {
	objects string      // directory of the objects
	tmp     string      // directory of the directories of unfinished builds
	build   string      // what their names begin with
	mode    os.FileMode // of an object
}

// In a repository nobody has a reason to write to an object; mkcomposefs lets the
// owner.
var (
	repoLayout  = layout{"objects", "tmp", "build-", 0o444}
	plainLayout = layout{".", ".", ".tmp-build-", 0o644}
)

func (l *layout) object(d verity.Digest) string { return path.Join(l.objects, d.ObjectPath()) }

// OpenStore opens a directory that holds SHA-256 objects only, and makes it if it
// isn't there.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make object store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	s := &Store{layout: &plainLayout, algorithm: verity.SHA256, root: root}
	if err := s.hold(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open object store %s: %w", dir, err)
	}
	return s, nil
}

// hold takes the shared lock.
func (s *Store) hold() (err error) {
	if s.lock, err = s.root.Open("."); err != nil {
		return err
	}
	return osfile.Lock(s.lock, false)
}

// Close releases the lock. What was put and not committed is gone.
func (s *Store) Close() error {
	s.shards.close()
	if s.lock != nil {
		s.lock.Close()
	}
	return s.root.Close()
}

// sync makes everything that was written to the file system durable.
func (s *Store) sync() error {
	if err := unix.Syncfs(int(s.lock.Fd())); err != nil {
		return fmt.Errorf("sync the file system of the objects: %w", err)
	}
	return nil
}
