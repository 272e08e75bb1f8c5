package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A Source says what of a repository goes onto a disk.
type Source struct {
	Repo   *repo.Repo
	Images []string // digests or refs
	Var    bool     // /var begins as a copy of /var in the image
}

// Layout collects what a root partition needs for the images.
func (s Source) Layout() (Layout, error) {
	r := s.Repo
	l := Layout{
		Algorithm: r.Meta().Algorithm, Meta: r.Meta().Text(),
		Refs: map[string]verity.Digest{}, Seals: map[sign.File][]byte{},
	}
	for _, name := range s.Images {
		d, err := r.Resolve(name)
		if err != nil {
			return l, err
		}
		if err := s.addImage(&l, d); err != nil {
			return l, fmt.Errorf("image %s: %w", d.Hex(), err)
		}
	}
	refs, err := r.Refs()
	if err != nil {
		return l, err
	}
	for name, d := range refs {
		if slices.Contains(l.Images, d) {
			l.Refs[name] = d
		}
	}
	return l, nil
}

// addImage adds an image, its objects, its seal and the state that it begins with.
func (s Source) addImage(l *Layout, d verity.Digest) error {
	f, err := s.Repo.Verify(d, sign.Policy{Need: sign.Off}, repo.AnyContent)
	if err != nil {
		return err
	}
	defer f.Close()
	img, err := erofs.Open(f, f.Size)
	if err != nil {
		return err
	}
	root, err := img.Tree()
	if err != nil {
		return err
	}
	var objects []verity.Digest
	for object, err := range img.Objects() {
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	slices.SortFunc(objects, verity.Digest.Compare)
	for _, object := range append(slices.Compact(objects), d) {
		o, err := s.object(object)
		if err != nil {
			return err
		}
		l.Objects = append(l.Objects, o)
	}
	deployment := Deployment{Image: d}
	if v := root.Lookup("var"); s.Var && v != nil {
		deployment.Var = s.state(".", v)
	}
	l.Images, l.Deploy = append(l.Images, d), append(l.Deploy, deployment)
	return s.addSeal(l, d)
}

func (s Source) object(d verity.Digest) (Object, error) {
	f, err := s.Repo.OpenObject(d)
	if err != nil {
		return Object{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Object{}, err
	}
	return Object{Digest: d, Size: st.Size(), Open: s.open(d)}, nil
}

func (s Source) open(d verity.Digest) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return s.Repo.OpenObject(d) }
}

func (s Source) addSeal(l *Layout, d verity.Digest) error {
	seal, err := s.Repo.ReadSeal(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Seals[sign.TextFile(d)] = seal.Text
	maps.Copy(l.Seals, seal.Signatures)
	return nil
}

// state returns the files of a directory of the image as ordinary files. It leaves out
// what isn't a file, a directory or a symlink.
func (s Source) state(name string, n *tree.Node) []Entry {
	e := Entry{Path: name, Mode: fileMode(n.Perm), UID: n.UID, GID: n.GID}
	switch n.Kind {
	case tree.Directory:
		e.Mode |= fs.ModeDir
		entries := []Entry{e}
		for _, child := range n.Entries() {
			entries = append(entries, s.state(path.Join(name, child.Name), child.Node)...)
		}
		return entries
	case tree.Symlink:
		e.Mode, e.Target = fs.ModeSymlink|0o777, n.Target
	case tree.Regular:
		e.Size = int64(n.Size)
		e.Open = Bytes(n.Inline)
		if !n.Object.IsZero() {
			e.Open, e.Digest = s.open(n.Object), n.Object
		}
	default:
		return nil
	}
	return []Entry{e}
}

// fileMode converts permission bits from the kernel's to Go's.
func fileMode(perm uint16) fs.FileMode {
	mode := fs.FileMode(perm & 0o777)
	for bit, flag := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if perm&bit != 0 {
			mode |= flag
		}
	}
	return mode
}
