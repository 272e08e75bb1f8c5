package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// Exclude waits until no other process has the repository open, and keeps others out until
// Share or Close. Only then may anything be removed.
func (r *Repo) Exclude() error { return osfile.Lock(r.lock, true) }

// Share lets others in again.
func (r *Repo) Share() error { return osfile.Lock(r.lock, false) }

// RefNames returns all refs, sorted. What they point to need not be there.
func (r *Repo) RefNames() ([]string, error) { return r.links("images/refs", "") }

// ImageNames returns the names in images, sorted. They need not be digests.
func (r *Repo) ImageNames() ([]string, error) { return r.links("images", "refs") }

// StreamRefs returns all refs to streams, sorted. What they point to need not be there.
func (r *Repo) StreamRefs() ([]string, error) { return r.links(streamRefs, "") }

// StreamNames returns the names of all streams, sorted.
func (r *Repo) StreamNames() ([]string, error) { return r.links(streams, "refs") }

// A StrayError is about files where there should be symbolic links only. Nothing of ours makes
// them. What is returned with it is right otherwise.
type StrayError struct{ Paths []string }

func (e *StrayError) Error() string {
	more := ""
	if n := len(e.Paths) - 1; n > 0 {
		more = fmt.Sprintf(", nor are %d others", n)
	}
	return fmt.Sprintf("%s isn't a symbolic link%s, and so no work of this program", e.Paths[0], more)
}

// links returns the names of the symbolic links below a directory, sorted, but for those
// in its subdirectory except. If there are other files too, the error is a *StrayError. A
// symbolic link on the way to the directory is an error.
func (r *Repo) links(top, except string) (names []string, err error) {
	dir, err := osfile.OpenDirPlain(r.lock, top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", top, err)
	}
	dir.Close()
	var strays []string
	err = fs.WalkDir(r.root.FS(), top, func(name string, e fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(strings.TrimPrefix(name, top), "/")
		switch {
		case err != nil:
			return err
		case e.IsDir() && rel == except && rel != "":
			return fs.SkipDir
		case e.IsDir():
			return nil
		case e.Type() != fs.ModeSymlink:
			strays = append(strays, filepath.Join(r.root.Name(), name))
			return nil
		}
		names = append(names, rel)
		return nil
	})
	slices.Sort(names)
	if err == nil && len(strays) > 0 {
		err = &StrayError{strays}
	}
	return names, err
}

// LookupImage returns the digest that a name in images has, and that its link leads to.
func (r *Repo) LookupImage(name string) (verity.Digest, error) {
	d, err := verity.ParseHex(r.meta.Algorithm, name)
	if err != nil {
		return d, fmt.Errorf("%w: images/%s isn't the digest of an image", ErrNoImage, name)
	}
	return d, r.checkImage(d)
}

// Seals returns the images that have a seal, sorted. The images need not be there.
func (r *Repo) Seals() ([]verity.Digest, error) {
	files, err := r.sealFiles()
	var images []verity.Digest
	for _, f := range files {
		if !f.IsSignature() {
			images = append(images, f.Image)
		}
	}
	return images, err
}

// sealFiles returns the files of all seals, sorted.
func (r *Repo) sealFiles() (files []sign.File, err error) {
	dir, err := osfile.OpenDirPlain(r.lock, sign.Directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list seals: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list seals: %w", err)
	}
	for _, e := range entries {
		if f, ok := sign.ParseFile(e.Name()); ok {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, sign.File.Compare)
	return files, nil
}

// A Found is a file in the directory of the objects.
type Found struct {
	Path   string        // below the repository
	Digest verity.Digest // zero if the name isn't an object's
	Size   int64         // in bytes
	Mode   fs.FileMode   // its type
}

// Leftover reports whether a program that was stopped left the file: composefs-rs, where the
// file system has no O_TMPFILE.
func (f Found) Leftover() bool {
	return f.Digest.IsZero() && f.Mode.IsRegular() && strings.HasPrefix(path.Base(f.Path), ".tmp-object-")
}

// Objects returns all files in the directory of the objects, in order.
func (r *Repo) Objects(ctx context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		dir, err := osfile.OpenDirPlain(r.lock, r.layout.objects)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Found{}, fmt.Errorf("list objects: %w", err))
			return
		}
		defer dir.Close()
		err = fs.WalkDir(r.root.FS(), r.layout.objects, func(name string, e fs.DirEntry, err error) error {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			// A directory in the place of an object is one of what is found.
			if err != nil || e.IsDir() && strings.Count(name, "/") < 2 {
				return err
			}
			found, err := r.found(name, e)
			if err == nil && !yield(found, nil) {
				return errEnough
			}
			if err == nil && e.IsDir() {
				return fs.SkipDir
			}
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Found{}, err)
		}
	}
}

var errEnough = errors.New("stopped")

func (r *Repo) found(name string, e fs.DirEntry) (Found, error) {
	info, err := e.Info()
	if err != nil {
		return Found{}, err
	}
	f := Found{Path: name, Size: info.Size(), Mode: info.Mode().Type()}
	d, err := verity.ParseObjectPath(strings.TrimPrefix(name, r.layout.objects+"/"))
	if err == nil && d.Algorithm() == r.meta.Algorithm {
		f.Digest = d
	}
	return f, nil
}

// Measure returns the digest that the kernel has of an object. Without fs-verity the error is
// verity.ErrNotEnabled or verity.ErrUnsupported.
func (r *Repo) Measure(d verity.Digest) (verity.Digest, error) { return r.measure(d) }

// Secure reports whether all objects must have fs-verity, as meta.json has it.
func (r *Repo) Secure() bool { return r.secure }

// RemoveNames removes the names of images and streams, and makes that durable. The process
// must have called Exclude.
func (r *Repo) RemoveNames(images, names []string) error {
	for _, part := range []struct {
		dir   string
		names []string
	}{{"images", images}, {streams, names}} {
		for _, name := range part.names {
			if err := r.removeLink(path.Join(part.dir, name)); err != nil {
				return err
			}
		}
		if len(part.names) > 0 {
			if err := r.syncDir(part.dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Repo) syncDir(name string) error {
	dir, err := r.openDir(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return osfile.SyncDir(dir)
}

// RemoveObject removes what Objects has found. The process must have called Exclude, and no
// name may need it.
func (r *Repo) RemoveObject(f Found) error {
	if f.Digest.IsZero() {
		return r.root.Remove(f.Path)
	}
	dir, name, err := r.place(f.Digest)
	if err != nil {
		return err
	}
	if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: f.Path, Err: err}
	}
	return nil
}

// RemoveSeal removes the files of an image's seal.
func (r *Repo) RemoveSeal(d verity.Digest) error {
	files, err := r.sealFiles()
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Image != d {
			continue
		}
		if err := r.root.Remove(sealPath(f)); err != nil {
			return err
		}
	}
	return r.syncDir(sign.Directory)
}

// Sweep removes what killed programs left below tmp.
func (r *Repo) Sweep() { r.sweep() }
