package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// ErrRef is the cause when a text can't be the name of a ref.
var ErrRef = sign.ErrRef

// AddImage gives a committed object its name below images.
func (r *Repo) AddImage(d verity.Digest) error {
	if err := r.replaceLink(path.Join("..", "objects", d.ObjectPath()), path.Join("images", d.Hex())); err != nil {
		return fmt.Errorf("add image %s: %w", d.Hex(), err)
	}
	return nil
}

// CheckRef accepts the names that can be booted by, aren't ours, and can be told from a
// digest.
func CheckRef(name string) error {
	if _, err := verity.ParseAnyHex(name); err == nil {
		return fmt.Errorf("%w %q: it looks like the digest of an image", ErrRef, name)
	}
	if strings.HasPrefix(path.Base(name), ".tmp-") {
		return fmt.Errorf("%w %q: names that begin with .tmp- are for files being made", ErrRef, name)
	}
	return sign.CheckRef(name)
}

// SetRef lets a name stand for an image.
func (r *Repo) SetRef(name string, d verity.Digest) error {
	if err := CheckRef(name); err != nil {
		return err
	}
	if err := r.CheckRefPlace(name); err != nil {
		return err
	}
	r.clearRefPlace(name)
	up := strings.Repeat("../", strings.Count(name, "/")+1)
	if err := r.replaceLink(up+d.Hex(), path.Join("images", "refs", name)); err != nil {
		return fmt.Errorf("set ref %s: %w", name, err)
	}
	return nil
}

// ErrRefTaken is the cause when a ref would have to be a directory of refs too.
var ErrRefTaken = errors.New("one ref's name can't begin with another's and a slash")

// CheckRefPlace finds out whether there can be a ref of that name beside those that there
// are. A directory that no ref is in any more gives way.
func (r *Repo) CheckRefPlace(name string) error {
	for i := range name {
		if name[i] != '/' {
			continue
		}
		if st, err := r.root.Lstat(path.Join("images", "refs", name[:i])); err == nil && !st.IsDir() {
			return fmt.Errorf("set ref %s: %w: there is a ref %s", name, ErrRefTaken, name[:i])
		}
	}
	place := path.Join("images", "refs", name)
	if err := r.checkRefDirectory(path.Dir(place)); err != nil {
		return fmt.Errorf("set ref %s: %w", name, err)
	}
	below := ""
	_ = fs.WalkDir(r.root.FS(), place, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && name != place {
			below = strings.TrimPrefix(name, "images/refs/")
			return fs.SkipAll
		}
		return nil
	})
	if below != "" {
		return fmt.Errorf("set ref %s: %w: there is a ref %s", name, ErrRefTaken, below)
	}
	return nil
}

// checkRefDirectory refuses a directory that the boot wouldn't look for refs in, as there
// is a symbolic link on the way to it.
func (r *Repo) checkRefDirectory(name string) error {
	dir, err := osfile.OpenDirPlain(r.lock, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it will be made
	}
	if err != nil {
		return err
	}
	return dir.Close()
}

// clearRefPlace removes directories without refs.
func (r *Repo) clearRefPlace(name string) {
	var dirs []string
	_ = fs.WalkDir(r.root.FS(), path.Join("images", "refs", name), func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, name)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		r.root.Remove(dir)
	}
}

// Resolve returns the digest of the image that a text names: the image's hex
// digest, or a ref.
func (r *Repo) Resolve(name string) (verity.Digest, error) {
	d, _, err := r.Lookup(name)
	if err == nil {
		err = r.checkImage(d)
	}
	return d, err
}

// Lookup is Resolve of an image that need not be there. It tells whether the name is that
// of a ref.
func (r *Repo) Lookup(name string) (d verity.Digest, isRef bool, err error) {
	if d, err := verity.ParseHex(r.meta.Algorithm, name); err == nil {
		return d, false, nil
	}
	d, err = r.LookupRef(name)
	return d, true, err
}

// LookupRef returns the digest of the image that a ref points to, whatever the name
// looks like. As at boot, no symbolic link is followed on the way to the ref.
func (r *Repo) LookupRef(name string) (verity.Digest, error) {
	if !fs.ValidPath(name) {
		return verity.Digest{}, fmt.Errorf("%w %q: want a digest of %d hex digits or a ref", ErrNoImage, name, 2*r.meta.Algorithm.Size())
	}
	target, err := osfile.ReadLinkIn(r.lock, path.Join("images", "refs", name), sign.MaxRefLink)
	if errors.Is(err, unix.ELOOP) {
		return verity.Digest{}, fmt.Errorf("%w: ref %q is behind a symbolic link to a directory, which the boot doesn't follow", ErrNoImage, name)
	}
	if errors.Is(err, fs.ErrPermission) {
		return verity.Digest{}, fmt.Errorf("look for ref %q: %w", name, err)
	}
	if err != nil {
		return verity.Digest{}, fmt.Errorf("%w: there is no ref %q, nor is that a digest of %d hex digits", ErrNoImage, name, 2*r.meta.Algorithm.Size())
	}
	d, err := sign.ParseRefLink(name, target)
	if err != nil {
		return verity.Digest{}, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	return d, nil
}

func (r *Repo) checkImage(d verity.Digest) error {
	target, err := r.root.Readlink(path.Join("images", d.Hex()))
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("look for image %s: %w", d.Hex(), err)
	}
	if err != nil {
		return fmt.Errorf("%w: there is no %s", ErrNoImage, filepath.Join(r.root.Name(), "images", d.Hex()))
	}
	if have, err := verity.ParseObjectPath(strings.TrimPrefix(target, "../objects/")); err != nil || have != d {
		return fmt.Errorf("%w: images/%s points to %q, not to its object", ErrNoImage, d.Hex(), target)
	}
	return nil
}

// OpenImage opens an image for reading. Its content isn't verified.
func (r *Repo) OpenImage(d verity.Digest) (*os.File, error) {
	if err := r.checkImage(d); err != nil {
		return nil, err
	}
	f, err := r.OpenObject(d)
	if errors.Is(err, ErrNoObject) {
		return nil, r.gone(d)
	}
	return f, err
}

// A GoneError is an image that is known by name, and whose object isn't there.
type GoneError struct {
	Image verity.Digest
	Path  string // of the object
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("%v: the object of image %s is gone, %s", ErrNoImage, e.Image.Hex(), e.Path)
}

// Is makes it an ErrNoImage.
func (e *GoneError) Is(target error) bool { return target == ErrNoImage }

func (r *Repo) gone(d verity.Digest) error {
	return &GoneError{d, filepath.Join(r.root.Name(), r.layout.object(d))}
}

// OpenBootable opens what composefs-setup-root opens of an image: any regular file that
// images/HEX leads to beneath the repository.
func (r *Repo) OpenBootable(d verity.Digest) (*os.File, error) {
	f, err := osfile.OpenRegularIn(r.lock, path.Join("images", d.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.checkImage(d); err != nil {
			return nil, err
		}
		return nil, r.gone(d)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open image %s: %w", d.Hex(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	return f, nil
}

// Refs returns all refs whose image is there.
func (r *Repo) Refs() (map[string]verity.Digest, error) {
	refs := map[string]verity.Digest{}
	err := fs.WalkDir(r.root.FS(), "images/refs", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSymlink {
			return err
		}
		ref := strings.TrimPrefix(name, "images/refs/")
		if d, err := r.Resolve(ref); err == nil {
			refs[ref] = d
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return refs, nil
	}
	return refs, err
}
