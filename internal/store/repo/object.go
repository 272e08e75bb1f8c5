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
	dir, name, err := s.place(d)
	return err == nil && unix.Fstatat(int(dir.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// ObjectSize returns the size of an object in bytes.
func (s *Store) ObjectSize(d verity.Digest) (int64, error) {
	var st unix.Stat_t
	if !s.stat(d, &st) {
		return 0, fmt.Errorf("%w: %s", ErrNoObject, filepath.Join(s.root.Name(), s.layout.object(d)))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, fmt.Errorf("%w: %s isn't a regular file", ErrNoObject, filepath.Join(s.root.Name(), s.layout.object(d)))
	}
	return st.Size, nil
}

// HasObject reports whether an object is there. Its content may be damaged.
func (s *Store) HasObject(d verity.Digest) bool {
	_, err := s.ObjectSize(d)
	return err == nil
}

// place returns the open directory of an object and the object's name in it.
func (s *Store) place(d verity.Digest) (*os.File, string, error) {
	var buf [2*64 + 1]byte
	object := d.AppendObjectPath(buf[:0])
	if len(object) == 0 {
		return nil, "", os.ErrNotExist
	}
	dir, err := s.shard(d, string(object[:2]))
	return dir, string(object[3:]), err
}

// shard returns the directory of an object, open. No symbolic link is followed on the way
// to it.
func (s *Store) shard(d verity.Digest, name string) (*os.File, error) {
	place := &s.shards[firstByte(d)]
	if dir := place.Load(); dir != nil {
		return dir, nil
	}
	dir, err := osfile.OpenDirPlain(s.lock, path.Join(s.layout.objects, name))
	if err != nil {
		return nil, err
	}
	if !place.CompareAndSwap(nil, dir) { // somebody was faster
		dir.Close()
	}
	return place.Load(), nil
}

func firstByte(d verity.Digest) byte {
	var buf [64]byte
	return d.AppendBytes(buf[:0])[0]
}

func (s *shards) close() {
	for i := range s {
		if dir := s[i].Swap(nil); dir != nil {
			dir.Close()
		}
	}
}

// OpenObject opens an object for reading. It isn't verified. As in overlayfs, no symbolic
// link is followed: one in the place of the object, or of a directory on the way to it, is
// an osfile.KindError.
func (s *Store) OpenObject(d verity.Digest) (*os.File, error) {
	f, err := osfile.OpenRegularPlain(s.lock, s.layout.object(d))
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
	return osfile.OpenDirPlain(r.lock, r.layout.objects)
}

// openDir opens a directory. A pipe in its place doesn't block it. Symbolic links are
// followed inside the store.
func (s *Store) openDir(name string) (*os.File, error) {
	return s.root.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}
