package main

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

// A sourceKind is one of the things that a tree can come from.
type sourceKind struct {
	prefix  string // of the argument; a directory has none
	operand string
	what    string
	want    string // what a file is called that it takes
	read    func(ctx context.Context, u *ui, operand string, how *reading) (source, error)
}

// sourceKinds are those with a prefix.
var sourceKinds = []sourceKind{
	{"tar:", "FILE[,FILE…]", "tar archive, plain, gzip or zstd; several are the layers of one image", "a tar archive", readTar},
	{"dump:", "FILE", "file in composefs-dump format", "a dump", readDump},
	{"crfs:", "FILE[,FILE…]", "JSON that composefs-from-json took, applied in order", "JSON as composefs-from-json took it", readCRFS},
}

// sourceHelp lists the kinds for the help of a command.
func sourceHelp() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-20s %s\n", "DIR", "directory")
	for _, k := range sourceKinds {
		fmt.Fprintf(&b, "  %-20s %s\n", k.prefix+k.operand, k.what)
	}
	return b.String() + "\nA FILE of - is standard input."
}

// A sink takes contents, whatever the source.
type sink interface {
	directory.Sink
	tarball.Sink
}

// A reading says how a source is to be read.
type reading struct {
	directory.Options
	sink      sink
	format    erofs.Format // of the image: it decides how a dump is understood
	tar       tarOptions
	mounts    string // the rule for what is mounted in a directory
	policy    bool   // transform.Boot will want the SELinux policy
	algorithm verity.Algorithm
	want      string // what the source is to be, for messages; "" for a directory
	cache     string // file with digests of directories read before; or ""

	// object opens an object that the source names and doesn't hold; nil if there
	// is no repository.
	object func(verity.Digest) (*os.File, error)
}

// A source is a tree, and the contents of those files that transform.Boot may want.
type source struct {
	root    *tree.Node
	content transform.Content
}

// findSource returns the kind that an argument has the prefix of.
func findSource(arg string) (kind sourceKind, operand string, ok bool) {
	for _, k := range sourceKinds {
		if operand, ok := strings.CutPrefix(arg, k.prefix); ok {
			return k, operand, true
		}
	}
	return sourceKind{read: readDirectory}, arg, false
}

// readSource reads the tree that an argument stands for.
func readSource(ctx context.Context, u *ui, arg string, how *reading) (source, error) {
	kind, operand, _ := findSource(arg)
	how.want = kind.want
	how.Sink, how.Progress = how.sink, u.progress.file
	u.progress.start("reading " + arg)
	defer u.progress.stop()
	return kind.read(ctx, u, operand, how)
}

// isDirectory reports whether an argument stands for a directory.
func isDirectory(arg string) bool { _, _, ok := findSource(arg); return !ok }

// readDump reads a dump as the tool does whose format the image gets, so that both
// make the same one of it.
func readDump(_ context.Context, u *ui, file string, how *reading) (src source, err error) {
	dialect := dumpfile.C
	if how.format == erofs.V2 {
		dialect = dumpfile.Rust
	}
	err = oneInput(u, file, how.want, func(r io.Reader) error {
		src.root, err = dialect.Parse(r)
		return err
	})
	if err != nil {
		return source{}, err
	}
	how.filter().Apply(src.root)
	if how.object != nil {
		src.content = objectContent(how.object)
	}
	return src, nil
}

// filter is for sources that are read whole.
func (how *reading) filter() transform.Filter {
	return transform.Filter{UseEpoch: how.UseEpoch, SkipDevices: how.SkipDevices, SkipXattrs: how.SkipXattrs, UserXattrs: how.UserXattrs}
}

func readCRFS(_ context.Context, u *ui, files string, how *reading) (source, error) {
	b := crfs.NewBuilder()
	if err := eachNamed(u, files, how.want, func(_ string, r io.Reader) error { return b.Apply(r) }); err != nil {
		return source{}, err
	}
	root := b.Tree()
	how.filter().Apply(root)
	return source{root: root}, nil
}

// checkSource finds names of files that are empty: most likely a shell's variable is unset.
func checkSource(arg string) error {
	kind, operand, prefixed := findSource(arg)
	switch {
	case arg == "-":
		return errors.New("SOURCE: for standard input say what is in it: tar:-, dump:- or crfs:-")
	case arg == "":
		return errors.New("SOURCE: want a directory, found an empty text")
	case prefixed && slices.Contains(strings.Split(operand, ","), ""):
		return fmt.Errorf("SOURCE: want %s%s, found an empty name in %q", kind.prefix, kind.operand, arg)
	}
	return nil
}

// eachNamed reads the files of a list one after the other.
func eachNamed(u *ui, list, want string, read func(name string, r io.Reader) error) error {
	for name := range strings.SplitSeq(list, ",") {
		if err := oneInput(u, name, want, func(r io.Reader) error { return read(name, r) }); err != nil {
			return err
		}
	}
	return nil
}

// oneInput reads a file, or standard input. Errors name the file, and say what it is if
// that isn't what is wanted.
func oneInput(u *ui, name, want string, read func(io.Reader) error) error {
	if name == "-" {
		return read(&stoppableReader{ctx: u.ctx, r: u.in})
	}
	f, err := openStoppable(u.ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	var from io.Reader = f
	st, err := f.Stat()
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s is a directory: want %s, or the name of the directory alone", name, want)
	case !st.Mode().IsRegular():
		from = &stoppableReader{ctx: u.ctx, r: f}
	}
	if err := read(from); err != nil {
		if found := otherSource(f, err, want); found != "" {
			return fmt.Errorf("%s: want %s, found %s", name, want, found)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
