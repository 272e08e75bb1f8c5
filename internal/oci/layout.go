package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/composefs-go/composefs/internal/osfile"
)

// refName is the annotation with the tag of an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// layoutVersion is the version of the OCI image layout.
const layoutVersion = "1.0.0"

// errNoLayout is the cause if a directory or an archive is no layout.
var errNoLayout = errors.New("it isn't an OCI layout")

// layout is a directory in the OCI image layout, or an archive of one.
type layout struct{ files fs.FS }

func (l layout) document(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return l.open(d)
}

func (l layout) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) { return l.open(d) }

func (l layout) blobPart(_ context.Context, d v1.Descriptor, offset, size int64) (io.ReadCloser, error) {
	r, err := l.open(d)
	if err != nil {
		return nil, err
	}
	at, ok := r.(io.ReaderAt)
	if !ok {
		r.Close()
		return nil, ErrNoRanges
	}
	return part{io.NewSectionReader(at, offset, size), r}, nil
}

// referrers returns all manifests that the index lists.
func (l layout) referrers(context.Context, v1.Hash) ([]v1.Descriptor, error) {
	index, err := l.index()
	if err != nil {
		return nil, err
	}
	return index.Manifests, nil
}

// open opens a blob, whose digest checkHash has accepted.
func (l layout) open(d v1.Descriptor) (io.ReadCloser, error) {
	name := "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex
	f, err := l.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, imageError("want the file %s, which isn't there: the image is incomplete", name)
	}
	return f, err
}

// plainFS are the regular files of a directory, behind links inside it too. A pipe isn't
// waited for.
type plainFS struct{ root *os.Root }

func (p plainFS) Open(name string) (fs.File, error) {
	f, err := p.root.OpenFile(name, osfile.Anything, 0)
	if err != nil {
		return nil, err
	}
	if err := osfile.WantRegular(f); err != nil {
		f.Close()
		return nil, unusable{err}
	}
	return f, nil
}

func openLayout(ctx context.Context, r Reference, o Options) (*Image, error) {
	root, err := os.OpenRoot(r.Path)
	if err != nil {
		return nil, err
	}
	i, err := layout{plainFS{root}}.find(ctx, r, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r.Path, err), root.Close())
	}
	i.close = root.Close
	return i, nil
}

// find finds the image that a reference means.
func (l layout) find(ctx context.Context, r Reference, o Options) (*Image, error) {
	if err := l.checkVersion(); err != nil {
		return nil, err
	}
	index, err := l.index()
	if err != nil {
		return nil, err
	}
	d, several, err := named(index.Manifests, r, o.Platform)
	if err != nil {
		return nil, err
	}
	i, err := find(ctx, l, d, o)
	if err == nil {
		i.Chosen = i.Chosen || several && o.Platform == ""
	}
	return i, err
}

// index reads the file that lists the images.
func (l layout) index() (*v1.IndexManifest, error) {
	f, err := l.files.Open(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, imageError("%w: it has no file %s", errNoLayout, indexFile)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readLimited(f, indexFile)
	if err != nil {
		return nil, err
	}
	return parseIndex(b)
}

// checkVersion refuses what is no layout, or one of a later format.
func (l layout) checkVersion() error {
	const name, version = versionFile, layoutVersion
	f, err := l.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return imageError("%w: it has no file %s", errNoLayout, name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := readLimited(f, name)
	if err != nil {
		return err
	}
	var found struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(b, &found); err != nil {
		return notJSON(name, err)
	}
	if found.Version != version {
		return imageError("%s: want version %s, found %q", name, version, found.Version)
	}
	return nil
}

// named returns the manifest with a tag or digest. Without either, there must be one image
// only: under one name, or for several platforms; then several is true.
func named(all []v1.Descriptor, r Reference, platform string) (d v1.Descriptor, several bool, err error) {
	var names []string
	var found []v1.Descriptor
	tags := map[string]bool{}
	tagged := "" // the manifest with the tag
	for _, d := range all {
		tag := d.Annotations[refName]
		if tag != "" {
			names = append(names, tag)
		}
		if tag == r.Name && tag != "" {
			tagged = d.Digest.String()
		}
		if r.Digest != "" && d.Digest.String() != r.Digest || r.Name != "" && tag != r.Name {
			continue
		}
		if r.Digest == "" && isArtifact(d) {
			continue // what refers to an image
		}
		found, tags[tag] = append(found, d), true
	}
	switch {
	case len(found) == 1:
		return found[0], false, nil
	case len(found) == 0 && r.Digest != "" && tagged != "":
		return d, false, imageError("want the manifest %s, found %s under the tag %q", r.Digest, tagged, r.Name)
	case len(found) == 0 && r.Digest != "":
		return d, false, &NameError{r.Digest, names}
	case len(found) == 0 || len(tags) > 1:
		return d, false, &NameError{r.Name, names}
	}
	d, err = choose(found, platform)
	return d, true, err
}
