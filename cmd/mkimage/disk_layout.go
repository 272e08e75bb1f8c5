package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// diskLayout collects what a root partition needs for some images of a repository.
func diskLayout(r *repo.Repo, images []string, withVar bool) (disk.Layout, error) {
	l := disk.Layout{
		Algorithm: r.Meta().Algorithm, Meta: r.Meta().Text(),
		Refs: map[string]verity.Digest{}, Seals: map[string][]byte{},
	}
	for _, name := range images {
		d, err := r.Resolve(name)
		if err != nil {
			return l, err
		}
		if err := addImage(&l, r, d, withVar); err != nil {
			return l, fmt.Errorf("image %s: %w", d.Hex(), err)
		}
	}
	refs, err := r.Refs()
	if err != nil {
		return l, err
	}
	for name, d := range refs {
		for _, image := range l.Images {
			if image == d {
				l.Refs[name] = d
			}
		}
	}
	return l, nil
}

// addImage adds an image, its objects, its seal and the state that it begins with.
func addImage(l *disk.Layout, r *repo.Repo, d verity.Digest, withVar bool) error {
	f, err := r.OpenImage(d)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := checkObject(f, d)
	if err != nil {
		return err
	}
	img, err := erofs.Open(f, size)
	if err != nil {
		return err
	}
	root, err := img.Tree()
	if err != nil {
		return err
	}
	objects, err := imageObjects(img)
	if err != nil {
		return err
	}
	for _, object := range append(objects, d) {
		o, err := diskObject(r, object)
		if err != nil {
			return err
		}
		l.Objects = append(l.Objects, o)
	}
	deployment := disk.Deployment{Image: d}
	if v := root.Lookup("var"); withVar && v != nil {
		deployment.Var = stateEntries(r, ".", v)
	}
	l.Images, l.Deploy = append(l.Images, d), append(l.Deploy, deployment)
	return addSeal(l, r, d)
}

func diskObject(r *repo.Repo, d verity.Digest) (disk.Object, error) {
	f, err := r.OpenObject(d)
	if err != nil {
		return disk.Object{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return disk.Object{}, err
	}
	return disk.Object{Digest: d, Size: st.Size(), Open: openObject(r, d)}, nil
}

func openObject(r *repo.Repo, d verity.Digest) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return r.OpenObject(d) }
}

func addSeal(l *disk.Layout, r *repo.Repo, d verity.Digest) error {
	seal, err := r.ReadSeal(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Seals[sign.SealName(d)] = seal.Text
	for suffix, signature := range seal.Signatures {
		l.Seals[sign.SealName(d)+suffix] = signature
	}
	return nil
}

// stateEntries are the files of a directory of the image as ordinary files. What
// isn't a file, a directory or a symlink has no business in /var at rest.
func stateEntries(r *repo.Repo, name string, n *tree.Node) []disk.Entry {
	e := disk.Entry{Path: name, Mode: fileMode(n.Perm), UID: n.UID, GID: n.GID}
	switch n.Kind {
	case tree.Directory:
		e.Mode |= fs.ModeDir
		entries := []disk.Entry{e}
		for _, child := range n.Entries() {
			entries = append(entries, stateEntries(r, path.Join(name, child.Name), child.Node)...)
		}
		return entries
	case tree.Symlink:
		e.Mode, e.Target = fs.ModeSymlink|0o777, n.Target
	case tree.Regular:
		e.Size = int64(n.Size)
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(n.Inline)), nil }
		if !n.Object.IsZero() {
			e.Open = openObject(r, n.Object)
		}
	default:
		return nil
	}
	return []disk.Entry{e}
}

// fileMode turns permission bits as the kernel has them into Go's.
func fileMode(perm uint16) fs.FileMode {
	mode := fs.FileMode(perm & 0o777)
	for bit, flag := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if perm&bit != 0 {
			mode |= flag
		}
	}
	return mode
}
