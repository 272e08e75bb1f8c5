package oci

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/await"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// openArchive opens an image in a tar archive, which may be compressed.
func openArchive(ctx context.Context, r Reference, o Options) (*Image, error) {
	f, err := await.Open(ctx, r.Path)
	if err != nil {
		return nil, err
	}
	plain, err := unpacked(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Path, err)
	}
	i, err := findInArchive(ctx, plain, r, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r.Path, err), plain.Close())
	}
	i.close = plain.Close
	return i, nil
}

func findInArchive(ctx context.Context, f *os.File, r Reference, o Options) (*Image, error) {
	files, err := index(ctx, f)
	if err != nil {
		return nil, err
	}
	if r.Transport == LayoutArchive {
		return layout{files}.find(ctx, r, o)
	}
	return fromDocker(files, r)
}

// unpacked returns f itself if it is a plain archive that can be read at any place, or else
// a file without a name that has the archive. It closes f if it isn't returned.
func unpacked(ctx context.Context, f *os.File) (*os.File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.IsDir() {
		return nil, errors.Join(imageError("want an archive, found a directory"), f.Close())
	}
	if st.Mode().IsRegular() {
		plain, err := tarball.IsPlain(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if plain {
			return f, nil
		}
	}
	defer f.Close()
	to, err := osfile.Unnamed(os.TempDir())
	if err != nil {
		return nil, err
	}
	if err := tarball.Unpack(ctx, to, f, 0); err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return to, nil
}

// archiveFS are the regular files of a tar archive.
type archiveFS struct {
	from  io.ReaderAt
	files map[string]archiveFile
}

// An archiveFile is where the content of a file is in the archive.
type archiveFile struct {
	at, size int64
	link     string // or the name of the file that has the content
}

// index finds the files of an archive.
func index(ctx context.Context, f *os.File) (archiveFS, error) {
	a := archiveFS{f, map[string]archiveFile{}}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return a, err
	}
	for t, n := tar.NewReader(f), 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return a, imageError("%w", err)
		}
		if n >= MaxArchiveEntries {
			return a, fmt.Errorf("%w: at most %d entries in an archive of an image", ErrLimit, MaxArchiveEntries)
		}
		if err := ctx.Err(); err != nil {
			return a, context.Cause(ctx)
		}
		if len(h.Name) > maxArchiveName || len(h.Linkname) > maxArchiveName {
			return a, fmt.Errorf("%w: names of at most %d bytes in an archive of an image, found %.100q…", ErrLimit, maxArchiveName, h.Name)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		switch h.Typeflag {
		case tar.TypeReg:
			// The reader takes whole blocks, and no more than the headers.
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return a, err
			}
			a.files[name] = archiveFile{at: at, size: h.Size}
		case tar.TypeLink:
			a.files[name] = archiveFile{link: path.Clean(strings.TrimLeft(h.Linkname, "/"))}
		case tar.TypeSymlink: // docker save makes some to layers that occur twice
			a.files[name] = archiveFile{link: path.Join(path.Dir(name), h.Linkname)}
		}
	}
}

// Open implements fs.FS.
func (a archiveFS) Open(name string) (fs.File, error) {
	const maxLinks = 8
	at := name
	for range maxLinks {
		f, ok := a.files[at]
		switch {
		case !ok:
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case f.link == "":
			return &openArchiveFile{io.NewSectionReader(a.from, f.at, f.size), path.Base(name)}, nil
		}
		at = f.link
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

// openArchiveFile implements fs.File and fs.FileInfo.
type openArchiveFile struct {
	*io.SectionReader
	name string
}

func (f *openArchiveFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *openArchiveFile) Close() error               { return nil }
func (f *openArchiveFile) Name() string               { return f.name }
func (f *openArchiveFile) Mode() fs.FileMode          { return 0o444 }
func (f *openArchiveFile) ModTime() time.Time         { return time.Time{} }
func (f *openArchiveFile) IsDir() bool                { return false }
func (f *openArchiveFile) Sys() any                   { return nil }

// dockerImage is an image in manifest.json of docker save.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// fromDocker finds an image in an archive by docker save. There is no manifest, and the
// layers have no digests but their diff_ids.
func fromDocker(files archiveFS, r Reference) (*Image, error) {
	const list = "manifest.json"
	b, err := readFile(files, list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, imageError("it isn't an archive by docker save: it has no file %s", list)
	}
	if err != nil {
		return nil, err
	}
	var all []dockerImage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, notJSON(list, err)
	}
	d, err := namedDocker(all, r.Name)
	if err != nil {
		return nil, err
	}
	if len(d.Layers) > MaxLayers {
		return nil, fmt.Errorf("%w: at most %d layers, found %d", ErrLimit, MaxLayers, len(d.Layers))
	}
	config, err := readFile(files, path.Clean(d.Config))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	i := &Image{}
	diffs, err := i.setConfig(config, len(d.Layers))
	if err != nil {
		return nil, err
	}
	for n, file := range d.Layers {
		l := Layer{Number: n + 1, MediaType: types.DockerUncompressedLayer, DiffID: diffs[n]}
		f, err := files.Open(path.Clean(file))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name(), err)
		}
		content := f.(*openArchiveFile)
		l.Size = content.Size()
		l.open = func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(content, 0, content.Size())), nil
		}
		i.Layers = append(i.Layers, l)
	}
	return i, nil
}

func readFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, name)
}

// namedDocker returns the image with a name; "" is enough where there is only one. A name
// without a tag means the tag latest.
func namedDocker(all []dockerImage, name string) (dockerImage, error) {
	var names []string
	for _, d := range all {
		if slices.Contains(d.RepoTags, name) || name != "" && slices.Contains(d.RepoTags, name+":latest") {
			return d, nil
		}
		names = append(names, d.RepoTags...)
	}
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	return dockerImage{}, &NameError{name, names}
}
