package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// shards holds the directories of the objects, by first byte of the digest, opened
// when they are first asked for. An os.Root follows a path anew each time, which
// for a build that finds all objects there would be most of what it does.
type shards [256]atomic.Pointer[os.File]

// stat is lstat of an object, and reports whether it is there.
func (s *Store) stat(d verity.Digest, st *unix.Stat_t) bool {
	var buf [2*64 + 1]byte
	object := d.AppendObjectPath(buf[:0])
	if len(object) == 0 {
		return false
	}
	dir := s.shard(d, string(object[:2]))
	return dir != nil && unix.Fstatat(int(dir.Fd()), string(object[3:]), st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// shard returns the open directory of an object, nil if there is none.
func (s *Store) shard(d verity.Digest, name string) *os.File {
	place := &s.shards[d.Bytes()[0]]
	if dir := place.Load(); dir != nil {
		return dir
	}
	dir, err := s.openDir(path.Join(s.layout.objects, name))
	if err != nil {
		return nil
	}
	if !place.CompareAndSwap(nil, dir) { // somebody was faster
		dir.Close()
	}
	return place.Load()
}

func (s *shards) close() {
	for i := range s {
		if dir := s[i].Swap(nil); dir != nil {
			dir.Close()
		}
	}
}

// OpenObject opens an object for reading. It isn't verified.
func (s *Store) OpenObject(d verity.Digest) (*os.File, error) {
	f, err := s.openRegular(s.layout.object(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoObject, filepath.Join(s.root.Name(), s.layout.object(d)))
	}
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", d.Hex(), err)
	}
	return f, nil
}

// OpenObjects opens the directory of the objects, to mount an image with. As at boot it
// may be no symbolic link, wherever that leads.
func (r *Repo) OpenObjects() (*os.File, error) {
	dir, err := osfile.OpenPlain(r.lock, r.layout.objects, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: want a directory, found a symbolic link", err)
	}
	return dir, err
}

// openRegular opens a regular file for reading, and waits for nobody if it is a pipe.
func (s *Store) openRegular(name string) (*os.File, error) {
	f, err := s.root.OpenFile(name, osfile.Anything, 0)
	if err != nil {
		return nil, err
	}
	if err := osfile.WantRegular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openDir opens a directory, and waits for nobody if it is a pipe.
func (s *Store) openDir(name string) (*os.File, error) {
	return s.root.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}
