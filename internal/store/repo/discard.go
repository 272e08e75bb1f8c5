package repo

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
)

// A creation is what this process has made of a repository: Discard removes nothing
// else.
type creation struct {
	dir  string // path of the repository, "" if there was a directory before
	meta bool   // it wasn't a repository before
}

// topNames are those that a repository without an image has.
var topNames = []string{"images", "meta.json", "objects", sign.Directory, "tmp"}

// Discard is Close for a repository that came to nothing. If Init made it, nobody
// else has it open and there is no image in it, not even one by somebody else, it is
// gone afterwards; a directory that was there before stays, empty.
func (r *Repo) Discard() error {
	defer r.Close()
	if !r.created.meta {
		return nil
	}
	// Whoever is about to open it waits for our lock, and finds no meta.json then.
	if alone, err := osfile.TryLock(r.lock, true); !alone {
		return err
	}
	if kept, err := r.holdsMore(); kept || err != nil {
		return err
	}
	r.shards.close()
	for _, name := range r.made {
		r.root.Remove(name)
	}
	// Of these only empty ones can be removed.
	for _, name := range slices.Backward(r.directories()) {
		r.root.Remove(name)
	}
	left, err := fs.ReadDir(r.root.FS(), ".")
	if err != nil || len(left) != 1 {
		return err
	}
	if err := r.root.Remove("meta.json"); err != nil || r.created.dir == "" {
		return err
	}
	return os.Remove(r.created.dir)
}

// holdsMore reports whether anything in the repository may have a use for the objects.
func (r *Repo) holdsMore() (more bool, err error) {
	top, err := fs.ReadDir(r.root.FS(), ".")
	if err != nil {
		return false, err
	}
	for _, e := range top {
		more = more || !slices.Contains(topNames, e.Name())
	}
	err = fs.WalkDir(r.root.FS(), "images", func(_ string, e fs.DirEntry, err error) error {
		more = more || err == nil && !e.IsDir()
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return more, err
}

// directories lists those that a repository has, parents first.
func (r *Repo) directories() (all []string) {
	for _, top := range []string{r.layout.objects, "images", sign.Directory, r.layout.tmp} {
		fs.WalkDir(r.root.FS(), top, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, name)
			}
			return nil
		})
	}
	return all
}
