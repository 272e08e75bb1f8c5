// Package source reads the tree that an argument stands for: a directory, or with a prefix
// that says what it is, an archive, a dump, or JSON that composefs-from-json took.
//
//	DIR          ─▶ erofs/directory ─┐
//	tar:FILE,…   ─▶ source/tarball  ─┼─▶ Tree, and the contents that transform.Boot wants
//	dump:FILE    ─▶ erofs/dumpfile  ─┤
//	crfs:FILE,…  ─▶ source/crfs     ─┘
//
// It also reads the tree of an image that is there already.
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
	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/verity"
)

// A Kind is one of the things that a tree can come from.
type Kind struct {
	Prefix  string // of the argument; a directory has none
	Operand string // what follows the prefix, for people
	What    string // what that is

	want string // what a file is called that it takes
	read func(ctx context.Context, operand string, o *options) (Tree, error)
}

// kinds are the kinds with a prefix.
var kinds = []Kind{
	{"tar:", "FILE[,FILE…]", "tar archive, plain, gzip or zstd; several are the layers of one image", "a tar archive", readTar},
	{"dump:", "FILE", "file in composefs-dump format", "a dump", readDump},
	{"crfs:", "FILE[,FILE…]", "JSON that composefs-from-json took, applied in order", "JSON as composefs-from-json took it", readCRFS},
}

// Kinds returns the kinds of sources that have a prefix.
func Kinds() []Kind { return slices.Clone(kinds) }

// A Sink takes contents, whatever the source.
type Sink interface {
	directory.Sink
	tarball.Sink
}

// Options say how a source is read.
type Options struct {
	transform.Filter
	Sink    Sink
	Format  erofs.Format // of the image: it decides how a dump is understood
	Tar     TarOptions
	Mounts  directory.MountRule // for what is mounted in a directory
	Sockets bool                // take sockets in directories; without it they are an error
	Empty   []string            // directories at the top that are taken without what is in them
	Policy  bool                // Tree.Content will be asked for the SELinux policy
	Cache   directory.Cache     // digests of directories read before; or nil

	// Object opens an object that the source names and doesn't hold; nil if there
	// is no repository.
	Object func(verity.Digest) (*os.File, error)
	// Stdin is what a file of - is read from.
	Stdin io.Reader
	// Remark, if set, is told what is odd about an archive, and no error.
	Remark func(error)
	// Progress, if set, is told of each file that was read: its size in bytes. It may be
	// called from several goroutines at once.
	Progress func(size int64)
}

// options are Options for one kind of source.
type options struct {
	Options
	want string // what a file is to be, for errors
}

// A Tree is what was read, and the contents of the files that transform.Boot may want.
type Tree struct {
	Root    *tree.Node
	Content transform.Content
}

// Find returns the kind that an argument has the prefix of. Without a prefix it is the
// name of a directory.
func Find(arg string) (kind Kind, operand string, ok bool) {
	for _, k := range kinds {
		if operand, ok := strings.CutPrefix(arg, k.Prefix); ok {
			return k, operand, true
		}
	}
	return Kind{read: readDirectory}, arg, false
}

// IsDirectory reports whether an argument stands for a directory.
func IsDirectory(arg string) bool { _, _, ok := Find(arg); return !ok }

// Check finds names of files that are empty: most likely a shell's variable is unset.
func Check(arg string) error {
	kind, operand, prefixed := Find(arg)
	switch {
	case arg == "-":
		var all []string
		for _, k := range kinds {
			all = append(all, k.Prefix+"-")
		}
		return fmt.Errorf("for standard input say what is in it: %s or %s", strings.Join(all[:len(all)-1], ", "), all[len(all)-1])
	case arg == "":
		return errors.New("want a directory, found an empty text")
	case prefixed && slices.Contains(strings.Split(operand, ","), ""):
		return fmt.Errorf("want %s%s, found an empty name in %q", kind.Prefix, kind.Operand, arg)
	}
	return nil
}

// Read reads the tree that an argument stands for. Errors about a file are a *FileError,
// a *filekind.Error or a *DirectoryError.
func Read(ctx context.Context, arg string, o Options) (Tree, error) {
	kind, operand, _ := Find(arg)
	return kind.read(ctx, operand, &options{o, kind.want})
}

// readDump reads a dump as the tool does whose format the image gets, so that both
// make the same one of it.
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
		t.Content = objectContent(o.Object)
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
