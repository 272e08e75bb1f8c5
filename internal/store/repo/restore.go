package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A LostMetaError is a repository whose meta.json is gone, or so damaged that nothing
// can be read from it. Restore writes it anew.
type LostMetaError struct {
	Path  string // of the repository
	Cause error  // what is wrong with meta.json; nil if there is none
}

func (e *LostMetaError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("the repository %s has lost its meta.json", e.Path)
	}
	return fmt.Sprintf("the repository %s has an %s", e.Path, e.Cause)
}

func (e *LostMetaError) Unwrap() error { return e.Cause }

// Wanted is what somebody asks of a repository; what is nil may be anything.
type Wanted struct {
	Algorithm *verity.Algorithm
	Format    *erofs.Format
}

// ErrUndecided is the cause when what is in a repository doesn't tell a setting.
var ErrUndecided = errors.New("the repository doesn't tell its settings")

// Restore writes the meta.json of a repository that has lost it. The settings are those
// of what is there: the names of objects, images and seals have the length of the
// algorithm's digests, and the images say their format. What is wanted decides only where
// these say nothing, or which of several formats is the default.
//
// fs-verity is turned on for the new meta.json if any object has it, so that a repository
// that insisted on it still does; in one without objects, wherever it can be had.
func Restore(dir string, want Wanted) (Meta, error) {
	meta, err := restore(dir, want)
	if err != nil {
		return meta, fmt.Errorf("restore meta.json of %s: %w", dir, err)
	}
	return meta, nil
}

func restore(dir string, want Wanted) (Meta, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Meta{}, err
	}
	s := &Store{layout: &repoLayout, root: root}
	defer s.Close()
	if s.lock, err = root.Open("."); err != nil {
		return Meta{}, err
	}
	// Nobody may make it at the same time, nor remove what tells the settings.
	if err := osfile.Lock(s.lock, true); err != nil {
		return Meta{}, err
	}
	var lost *LostMetaError
	if _, _, err := s.readMeta(dir); !errors.As(err, &lost) {
		return Meta{}, errors.Join(errors.New("it is there"), err)
	}
	seen, err := s.survey()
	if err != nil {
		return Meta{}, err
	}
	meta, err := seen.settings(want)
	if err != nil {
		return Meta{}, err
	}
	if lost.Cause != nil {
		if err := root.Remove("meta.json"); err != nil {
			return Meta{}, err
		}
	}
	return meta, publishMeta(s.lock, meta, seen.verity || len(seen.algorithms) == 0)
}

// A survey is what the content of a repository says about its settings.
type survey struct {
	algorithms map[verity.Algorithm]string // with a name that tells
	formats    map[erofs.Format]string
	verity     bool // some object has it
}

func (s *Store) survey() (*survey, error) {
	seen := &survey{map[verity.Algorithm]string{}, map[erofs.Format]string{}, false}
	err := s.eachFile("objects", func(name string) {
		d, err := verity.ParseObjectPath(name)
		if err != nil {
			return
		}
		seen.algorithms[d.Algorithm()] = path.Join("objects", name)
		if !seen.verity {
			_, err := s.measure(d)
			seen.verity = err == nil
		}
	})
	if err != nil {
		return nil, err
	}
	err = s.eachFile("images", func(name string) {
		d, err := verity.ParseAnyHex(name)
		if err != nil {
			return
		}
		seen.algorithms[d.Algorithm()] = path.Join("images", name)
		f, err := s.OpenObject(d)
		if err != nil {
			return
		}
		defer f.Close()
		if h, err := erofs.ReadHeader(f); err == nil {
			seen.formats[h.Version] = path.Join("images", name)
		}
	})
	if err != nil {
		return nil, err
	}
	return seen, s.eachFile(sign.Directory, func(name string) {
		if f, ok := sign.ParseFile(name); ok {
			seen.algorithms[f.Image.Algorithm()] = sealPath(f)
		}
	})
}

// eachFile calls do for the paths of all files below a directory, if there is one.
func (s *Store) eachFile(dir string, do func(name string)) error {
	err := fs.WalkDir(s.root.FS(), dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			do(strings.TrimPrefix(name, dir+"/"))
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// settings are what was seen, and where that says nothing what is wanted.
func (seen *survey) settings(want Wanted) (Meta, error) {
	meta := Meta{Algorithm: verity.SHA256, Format: erofs.V1}
	if len(seen.algorithms) > 1 {
		return meta, fmt.Errorf("%w: %s is of SHA-256, %s of SHA-512", ErrUndecided,
			seen.algorithms[verity.SHA256], seen.algorithms[verity.SHA512])
	}
	if want.Algorithm != nil {
		meta.Algorithm = *want.Algorithm
	}
	for alg, name := range seen.algorithms {
		if want.Algorithm != nil && *want.Algorithm != alg {
			return meta, fmt.Errorf("%w: %s shows that it has %s, wanted is %s", ErrOther, name, alg, *want.Algorithm)
		}
		meta.Algorithm = alg
	}
	switch {
	case want.Format != nil:
		meta.Format = *want.Format
		if have := slices.Sorted(maps.Keys(seen.formats)); len(have) > 0 && !slices.Contains(have, meta.Format) {
			return meta, fmt.Errorf("%w: %s shows that it has images of format v%d, wanted is v%d", ErrOther, seen.formats[have[0]], have[0], meta.Format)
		}
	case len(seen.formats) > 1:
		return meta, fmt.Errorf("%w: its images have several formats", ErrUndecided)
	default:
		for f := range seen.formats {
			meta.Format = f
		}
	}
	return meta, meta.check()
}
