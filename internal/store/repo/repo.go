package repo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// Errors that tell a caller what to advise.
var (
	ErrNotRepo  = errors.New("not a repository")
	ErrOccupied = errors.New("the directory isn't a repository and isn't empty")
	ErrOther    = errors.New("the repository was made with other settings")
	ErrNoObject = errors.New("no such object")
	ErrNoImage  = errors.New("no such image")
)

// A Repo is an open repository: a Store with images, refs and seals. It holds a
// shared lock, which keeps garbage collection away. Its methods may be called
// concurrently.
type Repo struct {
	Store
	meta    Meta
	created creation
}

// initTries is how often Init begins anew when what it has just made is taken away by
// another process, which made it first and gave up.
const initTries = 100

// Init makes a repository at path, or opens the one there if it has the same
// settings. A directory that has other things in it stays untouched.
func Init(path string, meta Meta) (*Repo, error) {
	if err := meta.check(); err != nil {
		return nil, fmt.Errorf("make repository %s: %w", path, err)
	}
	var r *Repo
	var err error
	for range initTries {
		if r, err = initOnce(path, meta); !errors.Is(err, ErrNotRepo) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if !r.meta.equal(meta) {
		r.Close()
		return nil, fmt.Errorf("%w: %s has %s, but %s is wanted", ErrOther, path, r.meta, meta)
	}
	return r, nil
}

// initOnce returns ErrNotRepo if somebody removed the repository meanwhile.
func initOnce(path string, meta Meta) (*Repo, error) {
	r, err := Open(path)
	if !errors.Is(err, ErrNotRepo) {
		return r, err
	}
	var made creation
	if err := os.Mkdir(path, 0o700); err == nil {
		made.dir = path
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make repository: %w", err)
	}
	made.meta, err = create(path, meta)
	if err == nil {
		r, err = Open(path)
	}
	if err != nil && made.dir != "" {
		os.Remove(path) // if nobody else uses it, it is empty
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNotRepo, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make repository %s: %w", path, err)
	}
	r.created, r.noting = made, made.meta
	return r, nil
}

// create writes meta.json into an empty directory, and reports whether it did: another
// process may be faster.
func create(path string, meta Meta) (bool, error) {
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	// One at a time: the file system may have no other way than a temporary name,
	// which to the next one would be a directory that isn't empty.
	if err := osfile.Lock(dir, true); err != nil {
		return false, err
	}
	if _, err := os.Lstat(filepath.Join(path, "meta.json")); err == nil {
		return false, nil
	}
	if err := requireEmpty(dir); err != nil {
		return false, err
	}
	err = publishMeta(dir, meta, true)
	return err == nil, err
}

// publishMeta writes meta.json, with fs-verity if that is wanted and the file system has
// it.
func publishMeta(dir *os.File, meta Meta, secure bool) error {
	return osfile.Publish(dir, "meta.json", 0o644, func(f *os.File) error {
		_, err := f.Write(meta.Text())
		return err
	}, func(f *os.File) error {
		if !secure {
			return nil
		}
		if err := verity.Enable(f, meta.Algorithm); !errors.Is(err, verity.ErrUnsupported) {
			return err
		}
		return nil
	})
}

func requireEmpty(dir *os.File) error {
	names, err := dir.Readdirnames(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: it has no meta.json, and %q is in it", ErrOccupied, names[0])
	}
	return nil
}

// Open opens the repository at path.
func Open(path string) (*Repo, error) {
	root, err := os.OpenRoot(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNotRepo, err)
	case errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%w: %s is no directory", ErrNotRepo, path)
	case err != nil:
		return nil, fmt.Errorf("open repository: %w", err)
	}
	r := &Repo{Store: Store{layout: &repoLayout, root: root}}
	if err := r.open(path); err != nil {
		r.Close()
		var lost *LostMetaError
		if errors.Is(err, ErrNotRepo) || errors.As(err, &lost) {
			return nil, err
		}
		return nil, fmt.Errorf("open repository %s: %w", path, err)
	}
	return r, nil
}

func (r *Repo) open(path string) (err error) {
	if err := r.hold(); err != nil {
		return err
	}
	r.meta, r.secure, err = r.readMeta(path)
	r.algorithm = r.meta.Algorithm
	return err
}

// readMeta returns the settings, and whether they have fs-verity, which means that all
// objects must have it. A meta.json that nothing can be read from is a LostMetaError, as
// is none in a directory with objects.
func (s *Store) readMeta(path string) (meta Meta, secure bool, err error) {
	f, err := osfile.OpenRegularPlain(s.lock, "meta.json")
	if errors.Is(err, fs.ErrNotExist) {
		if st, err := s.root.Stat(s.layout.objects); err == nil && st.IsDir() {
			return meta, false, &LostMetaError{Path: path}
		}
		return meta, false, fmt.Errorf("%w: there is no meta.json in %s", ErrNotRepo, path)
	}
	if err != nil {
		return meta, false, err
	}
	defer f.Close()
	text, err := osfile.ReadAll(f, metaMax)
	if err != nil {
		return meta, false, err
	}
	if meta, err = ParseMeta(text); err != nil {
		if errors.Is(err, errGarbled) || errors.Is(err, errEmpty) {
			err = &LostMetaError{path, err}
		}
		return meta, false, err
	}
	_, err = verity.Measure(f, meta.Algorithm)
	return meta, err == nil, nil
}

// IsRepo reports whether a directory looks like a repository.
func IsRepo(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "meta.json"))
	return err == nil
}

// Meta returns the settings.
func (r *Repo) Meta() Meta { return r.meta }
