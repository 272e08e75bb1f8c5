package repo

import (
	"errors"
	"io/fs"
	"path"

	"github.com/composefs-go/composefs/internal/osfile"
)

// replaceLink makes name a symlink to target in one step, whatever it was before,
// and makes that durable.
func (s *Store) replaceLink(target, name string) error {
	if have, err := s.root.Readlink(name); err == nil && have == target {
		return nil
	}
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	err := s.root.Symlink(target, name)
	if exists(err) {
		err = s.exchangeLink(target, name)
	}
	if err != nil {
		return err
	}
	dir, err := s.openDir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return osfile.SyncDir(dir)
}

// exchangeLink is for a name that there is. The new link comes from a directory of
// its own: beside the old one, what a killed process leaves would be taken for a ref.
func (s *Store) exchangeLink(target, name string) error {
	g, err := s.newScratch()
	if err != nil {
		return err
	}
	defer g.remove()
	tmp := path.Join(g.dir, "link")
	if err := s.root.Symlink(target, tmp); err != nil {
		return err
	}
	return s.root.Rename(tmp, name)
}

func exists(err error) bool { return errors.Is(err, fs.ErrExist) }
