package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A LinkError is a symbolic link on the way to what composefs-setup-root reads through
// none: the root partition may be mounted by then, and the link may lead there.
type LinkError struct {
	Path string // absolute, in the initrd
	To   string
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link to %q: composefs-setup-root refuses links to its policy and keys", e.Path, e.To)
}

// CheckPlain returns a LinkError if a file of the policy, or its directory, is a symbolic
// link. Links further up are the initrd's own (/lib), as long as they lead somewhere in it.
func CheckPlain(root fs.ReadLinkFS, name string) error {
	name = path.Clean(strings.Trim(name, "/"))
	for at := name; at != "."; at = path.Dir(at) {
		to, err := root.ReadLink(at)
		if err != nil {
			continue // no link, or nothing is there
		}
		if _, err := fs.Stat(root, at); err != nil || at == name || at == path.Dir(name) {
			return &LinkError{"/" + at, to}
		}
	}
	return nil
}

// CheckPlainKeys is CheckPlain for a directory of keys and each key in it.
func CheckPlainKeys(root fs.ReadLinkFS, dir string) error {
	if err := CheckPlain(root, dir); err != nil {
		return err
	}
	dir = path.Clean(strings.Trim(dir, "/"))
	names, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil // reading the keys reports it
	}
	for _, entry := range names {
		at := path.Join(dir, entry.Name())
		if to, err := root.ReadLink(at); err == nil && strings.HasSuffix(at, ".pub") {
			return &LinkError{"/" + at, to}
		}
	}
	return nil
}
