package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/filekind"
)

// A DirectoryError says that a source without a prefix isn't a directory.
type DirectoryError struct {
	Path   string
	Found  filekind.Kind // "a file", or another kind
	Image  bool          // it is an image
	Prefix string        // of the kind of source that the file seems to be; or ""
}

func (e *DirectoryError) Error() string {
	if e.Image {
		return e.Path + " is an image already: want a directory"
	}
	return fmt.Sprintf("%s is %s: want a directory", e.Path, e.Found)
}

// A LayoutError is the remark that a directory holds container images, and is read as it is.
type LayoutError struct{ Path string }

func (e *LayoutError) Error() string {
	return e.Path + " is an OCI layout, and its own files are taken: blobs, index.json, oci-layout"
}

// isLayout reports whether a directory is an OCI layout.
func isLayout(dir string) bool {
	for _, name := range []string{"oci-layout", "index.json"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || !st.Mode().IsRegular() {
			return false
		}
	}
	return true
}

func readDirectory(ctx context.Context, dir string, o *options) (Tree, error) {
	if err := checkDirectory(dir); err != nil {
		return Tree{}, err
	}
	if o.Remark != nil && isLayout(dir) {
		o.Remark(&LayoutError{dir})
	}
	root, err := directory.Read(ctx, dir, directory.Options{
		Sink: o.Sink, Cache: o.Cache, Mounts: o.Mounts, Empty: o.Empty, Sockets: o.Sockets, Progress: o.Progress,
		UseEpoch: o.UseEpoch, SkipDevices: o.SkipDevices, SkipXattrs: o.SkipXattrs, UserXattrs: o.UserXattrs,
	})
	if err != nil || !o.Policy {
		return Tree{Root: root}, err
	}
	return Tree{root, directoryContent(root, dir)}, nil
}

// checkDirectory returns a DirectoryError if there is a file instead of a directory.
func checkDirectory(name string) error {
	st, err := os.Stat(name)
	if err != nil || st.IsDir() {
		return nil // the reader reports the error
	}
	e := &DirectoryError{Path: name, Found: filekind.OfMode(st.Mode())}
	if !st.Mode().IsRegular() {
		return e
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	kind := filekind.OfFile(f)
	e.Image, e.Prefix = kind == filekind.Image, prefixFor(name, kind)
	return e
}

// prefixFor returns the prefix for a file, "" if it isn't known.
func prefixFor(name string, kind filekind.Kind) string {
	switch {
	case kind == filekind.Tar, archiveName.MatchString(name):
		return "tar:"
	case kind == filekind.Dump, strings.HasSuffix(name, ".dump"):
		return "dump:"
	case strings.HasSuffix(name, ".json"):
		return "crfs:"
	}
	return ""
}
