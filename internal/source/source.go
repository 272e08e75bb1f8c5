// Package source reads the tree that an argument names: a directory, or with a prefix an
// archive, a container image, a dump, or the JSON that composefs-from-json read.
//
//	DIR              ─▶ erofs/directory ────────┐
//	tar:FILE,…       ─▶ source/tarball ─────────┤
//	oci:DIR:TAG, …   ─▶ oci ─▶ source/tarball  ─┼─▶ Tree, and the contents that transform.Prepare needs
//	dump:FILE        ─▶ erofs/dumpfile ─────────┤
//	crfs:FILE,…      ─▶ source/crfs ────────────┘
//
// It also reads the trees of existing images.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/verity"
)

// A Kind is a kind of source.
type Kind struct {
	Prefix  string // of the argument; a directory has none
	Operand string // what follows the prefix, for help texts
	What    string // describes it, for help texts

	want  string                        // describes its files, for errors
	files func(operand string) []string // the names of its files
	check func(arg string) error        // finds what can't be meant; or nil
	read  func(ctx context.Context, operand string, o *options) (Tree, error)
}

// kinds are the kinds with a prefix.
var kinds = []Kind{
	{"tar:", "FILE[,FILE…]", "tar archive, plain, gzip or zstd; several are the layers of one image", "a tar archive", splitList, nil, readTar},
	{"oci:", "DIR[:TAG]", "container image in an OCI layout", "", imageFiles(oci.Layout), checkImage, readImage(oci.Layout)},
	{"oci-archive:", "FILE[:TAG]", "container image in an archive of such a layout", "", imageFiles(oci.LayoutArchive), checkImage, readImage(oci.LayoutArchive)},
	{"docker-archive:", "FILE[:NAME:TAG]", "container image as docker save writes it", "", imageFiles(oci.DockerArchive), checkImage, readImage(oci.DockerArchive)},
	{"docker://", "HOST/NAME[:TAG]", "container image in a registry", "", imageFiles(oci.Registry), checkImage, readImage(oci.Registry)},
	{"dump:", "FILE", "file in composefs-dump format", "a dump", splitList, nil, readDump},
	{"crfs:", "FILE[,FILE…]", "JSON that composefs-from-json took, applied in order", "JSON as composefs-from-json took it", splitList, nil, readCRFS},
}

// Kinds returns the kinds of sources that have a prefix.
func Kinds() []Kind { return slices.Clone(kinds) }

// A Sink takes the contents of files from every kind of source.
type Sink interface {
	directory.Sink
	tarball.Sink
}

// Options say how a source is read.
type Options struct {
	transform.Filter
	Sink    Sink
	Format  erofs.Format // of the image: a dump is read by the rules of the tools with that format
	Tar     TarOptions
	Image   oci.Options
	Mounts  directory.MountRule // for mounts inside a directory
	Sockets bool                // accept sockets in directories, which are an error otherwise
	Empty   []string            // directories at the top whose content is left out
	Policy  bool                // Tree.Content will be needed for the SELinux policy
	Cache   directory.Cache     // digests from earlier builds; or nil

	// Object opens an object that the source only refers to; nil if there is no repository.
	Object func(verity.Digest) (*os.File, error)
	// Stdin is read where a file is called -.
	Stdin io.Reader
	// Remark, if set, is called for oddities of an archive that aren't errors.
	Remark func(error)
	// Progress, if set, is called with the size in bytes of each file that was read. It may
	// be called from several goroutines at once.
	Progress func(size int64)
}

// options are Options for one kind of source.
type options struct {
	Options
	want string // describes the expected file, for errors
}

// A Tree is the tree of a source, with the contents of the files that transform.Prepare
// may need.
type Tree struct {
	Root    *tree.Node
	Content transform.Content
}

// Find returns the kind whose prefix an argument has, and the rest of the argument. An
// argument without a prefix is the name of a directory.
func Find(arg string) (kind Kind, operand string, ok bool) {
	for _, k := range kinds {
		if operand, ok := strings.CutPrefix(arg, k.Prefix); ok {
			return k, operand, true
		}
	}
	return Kind{read: readDirectory}, arg, false
}

// IsDirectory reports whether an argument names a directory.
func IsDirectory(arg string) bool { _, _, ok := Find(arg); return !ok }

// Check finds empty names of files: most likely a shell variable is unset.
func Check(arg string) error {
	kind, operand, prefixed := Find(arg)
	switch {
	case arg == "-":
		var all []string
		for _, k := range kinds {
			if k.want != "" {
				all = append(all, k.Prefix+"-")
			}
		}
		return fmt.Errorf("for standard input say what is in it: %s or %s", strings.Join(all[:len(all)-1], ", "), all[len(all)-1])
	case arg == "":
		return errors.New("want a directory, found an empty text")
	case prefixed && slices.Contains(kind.files(operand), ""):
		return fmt.Errorf("want %s%s, found an empty name in %q", kind.Prefix, kind.Operand, arg)
	case prefixed && kind.check != nil:
		return kind.check(arg)
	}
	return nil
}

// splitList splits a list of names of files.
func splitList(operand string) []string { return strings.Split(operand, ",") }

// Read reads the tree that an argument names. An error about a file is a *FileError, a
// *filekind.Error or a *DirectoryError; about a layer of an image it is a *FileError too.
func Read(ctx context.Context, arg string, o Options) (Tree, error) {
	kind, operand, _ := Find(arg)
	return kind.read(ctx, operand, &options{o, kind.want})
}

// readDump reads a dump by the rules of the tool whose format the image gets, so that both
// make the same image from it.
func readDump(ctx context.Context, file string, o *options) (t Tree, err error) {
	dialect := dumpfile.C
	if o.Format == erofs.V2 {
		dialect = dumpfile.Rust
	}
	err = o.readFile(ctx, file, func(r io.Reader) error {
		t.Root, err = dialect.Parse(r)
		return err
	})
	if err != nil {
		return Tree{}, err
	}
	o.Filter.Apply(t.Root)
	if o.Object != nil {
		t.Content = ObjectContent(o.Object)
	}
	return t, nil
}

func readCRFS(ctx context.Context, files string, o *options) (Tree, error) {
	b := crfs.NewBuilder()
	if err := o.readFiles(ctx, files, func(_ string, r io.Reader) error { return b.Apply(r) }); err != nil {
		return Tree{}, err
	}
	root := b.Tree()
	o.Filter.Apply(root)
	return Tree{Root: root}, nil
}
