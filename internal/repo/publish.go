package repo

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/composefs-go/composefs/internal/osfile"
)

// replaceLink makes name a symlink to target in one step, whatever it was before,
// and makes that durable.
func replaceLink(root *os.Root, target, name string) error {
	if have, err := root.Readlink(name); err == nil && have == target {
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := path.Join(path.Dir(name), ".tmp-"+rand.Text())
	if err := root.Symlink(target, tmp); err != nil {
		return err
	}
	if err := root.Rename(tmp, name); err != nil {
		root.Remove(tmp)
		return err
	}
	dir, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return osfile.SyncDir(dir)
}

func exists(err error) bool { return errors.Is(err, fs.ErrExist) }
