package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/composefs-go/composefs/internal/osfile"
)

// What a layout consists of.
const (
	versionFile    = "oci-layout"
	versionContent = `{"imageLayoutVersion":"` + layoutVersion + `"}`
	indexFile      = "index.json"
	blobsDir       = "blobs/sha256"
)

// A layoutWriter puts images into a layout.
type layoutWriter struct {
	reference Reference
	dir       *os.File
	blobs     *os.File
}

// createLayout opens a layout. A directory that doesn't exist or is empty becomes one.
func createLayout(r Reference) (_ Destination, err error) {
	made := os.Mkdir(r.Path, 0o777)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, made
	}
	l := &layoutWriter{reference: r}
	if l.dir, err = osfile.OpenDir(r.Path); err != nil {
		return nil, err
	}
	if err := l.locked(l.prepare); err != nil {
		err = errors.Join(fmt.Errorf("%s: %w", r.Path, err), l.Close())
		if made == nil {
			os.Remove(r.Path) // if it is empty
		}
		return nil, err
	}
	return l, nil
}

// locked calls a function while no other program changes what isn't a blob.
func (l *layoutWriter) locked(f func() error) error {
	lock, err := osfile.OpenDirPlain(l.dir, ".")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := osfile.Lock(lock, true); err != nil {
		return err
	}
	return f()
}

// prepare makes what a layout consists of.
func (l *layoutWriter) prepare() error {
	root, err := os.OpenRoot(l.reference.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	err = layout{plainFS{root}}.checkVersion()
	if errors.Is(err, errNoLayout) {
		err = l.makeNew()
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{"blobs", blobsDir} {
		if err := root.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if l.blobs, err = osfile.OpenDirPlain(l.dir, blobsDir); err != nil {
		return err
	}
	osfile.Sweep(l.blobs)
	return nil
}

// makeNew makes a layout of an empty directory.
func (l *layoutWriter) makeNew() error {
	names, err := l.dir.Readdirnames(1)
	if err != nil && err != io.EOF {
		return err
	}
	if len(names) > 0 {
		return imageError("want an OCI layout or an empty directory, found files and no %s", versionFile)
	}
	return l.replace(l.dir, versionFile, []byte(versionContent))
}

// fileMode is the mode of the files of a layout, less the umask.
const fileMode = 0o644

func (l *layoutWriter) replace(dir *os.File, name string, content []byte) error {
	return osfile.Replace(dir, name, fileMode, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// PutBlob implements Destination.
func (l *layoutWriter) PutBlob(ctx context.Context, b Blob) (stored bool, err error) {
	name := strings.TrimPrefix(b.Digest, "sha256:")
	if there, err := l.holds(ctx, name, b); err != nil || there {
		return false, err
	}
	r, err := b.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	err = osfile.Replace(l.blobs, name, fileMode, func(f *os.File) error {
		_, err := io.Copy(f, newChecked(&until{r, ctx}, "blob "+b.Digest, b.Digest, b.Size))
		return err
	})
	return true, err
}

// holds reports whether a blob is there, and is what its name says.
func (l *layoutWriter) holds(ctx context.Context, name string, b Blob) (bool, error) {
	f, err := osfile.OpenRegularPlain(l.blobs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, newChecked(&until{f, ctx}, "blob "+b.Digest, b.Digest, b.Size))
	if errors.Is(err, ErrImage) {
		return false, nil // and so it is replaced
	}
	return err == nil, err
}

// PutManifest implements Destination.
func (l *layoutWriter) PutManifest(ctx context.Context, m Manifest, tagged bool) error {
	b := Blob{m.MediaType, m.Digest(), int64(len(m.Content)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Content)), nil }}
	if _, err := l.PutBlob(ctx, b); err != nil {
		return err
	}
	tag := ""
	if tagged {
		tag = l.reference.Name
	}
	return l.locked(func() error {
		index, err := l.index(m, tag)
		if err != nil {
			return fmt.Errorf("%s: %w", l.reference.Path, err)
		}
		return l.replace(l.dir, indexFile, index)
	})
}

// An indexEntry is a manifest in index.json.
type indexEntry struct {
	MediaType    types.MediaType   `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *v1.Platform      `json:"platform,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// index returns the content of index.json with a manifest. Another one loses the tag.
func (l *layoutWriter) index(m Manifest, tag string) ([]byte, error) {
	all, err := l.entries()
	if err != nil {
		return nil, err
	}
	e := indexEntry{MediaType: m.MediaType, Digest: m.Digest(), Size: int64(len(m.Content)), ArtifactType: m.ArtifactType}
	if tag != "" {
		e.Annotations = map[string]string{refName: tag}
	}
	if p, err := v1.ParsePlatform(m.Platform); err == nil && p.OS != "" && p.Architecture != "" {
		e.Platform = p
	}
	added, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	kept := []json.RawMessage{}
	for _, raw := range all {
		var other indexEntry
		if err := json.Unmarshal(raw, &other); err != nil {
			return nil, notJSON(indexFile, err)
		}
		had := other.Annotations[refName]
		if had == tag && (tag != "" || other.Digest == e.Digest) {
			continue
		}
		kept = append(kept, raw)
	}
	return json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     types.MediaType   `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}{2, types.OCIImageIndex, append(kept, added)})
}

// entries returns what index.json has, as it is written there.
func (l *layoutWriter) entries() ([]json.RawMessage, error) {
	f, err := osfile.OpenRegularPlain(l.dir, indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readLimited(f, indexFile)
	if err != nil {
		return nil, err
	}
	if _, err := parseIndex(b); err != nil {
		return nil, err
	}
	var index struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, notJSON(indexFile, err)
	}
	return index.Manifests, nil
}

func (l *layoutWriter) String() string { return l.reference.String() }

func (l *layoutWriter) Close() error {
	if l.blobs != nil {
		l.blobs.Close()
	}
	return l.dir.Close()
}

// An until ends with a context.
type until struct {
	io.ReadCloser
	ctx context.Context
}

func (u *until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.ReadCloser.Read(p)
}
