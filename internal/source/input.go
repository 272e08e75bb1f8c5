package source

import (
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/await"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// standardInput is the name of a file that stands for standard input.
const standardInput = "-"

// A FileError is an error or a remark about one of a source's files.
type FileError struct {
	Name string // as it was given; - is standard input
	Err  error
}

func (e *FileError) Error() string {
	if e.Name == standardInput {
		return e.Err.Error()
	}
	return e.Name + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// readFiles reads the files of a list one after the other.
func (o *options) readFiles(ctx context.Context, list string, read func(name string, r io.Reader) error) error {
	for name := range strings.SplitSeq(list, ",") {
		if err := o.readFile(ctx, name, func(r io.Reader) error { return read(name, r) }); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads a file, or standard input. Errors name the file, and say so if it is of
// another kind.
func (o *options) readFile(ctx context.Context, name string, read func(io.Reader) error) error {
	if name == standardInput {
		if err := read(await.NewReader(ctx, o.Stdin)); err != nil {
			return &FileError{name, err}
		}
		return nil
	}
	f, err := await.Open(ctx, name)
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
		return &filekind.Error{Path: name, Found: filekind.OfMode(st.Mode()), Want: o.want}
	case !st.Mode().IsRegular():
		from = await.NewReader(ctx, f)
	}
	if err := read(from); err != nil {
		if found := otherKind(f, err, o.want); found != "" {
			return &filekind.Error{Path: name, Found: found, Want: o.want}
		}
		return &FileError{name, err}
	}
	return nil
}

// archiveName matches the usual names of tar archives.
var archiveName = regexp.MustCompile(`\.(tar(\.[a-z0-9]+)?|tgz|tzst|txz)$`)

// otherKind returns the kind of a file that couldn't be parsed, "" if it may be the wanted
// kind and damaged.
func otherKind(f *os.File, err error, want string) filekind.Kind {
	if !errors.Is(err, tarball.ErrArchive) && !errors.Is(err, dumpfile.ErrSyntax) && !errors.Is(err, crfs.ErrSyntax) {
		return ""
	}
	kind := filekind.OfFile(f)
	archive := want == string(filekind.Tar)
	switch kind {
	case filekind.Empty:
		return ""
	case filekind.Unknown, filekind.Zeros, filekind.Packed:
		if archive {
			return ""
		}
		return "no text"
	case filekind.Text:
		if strings.HasPrefix(want, string(filekind.JSON)) {
			return "no JSON object"
		}
		if !archive {
			return ""
		}
	}
	if strings.HasPrefix(want, string(kind)) {
		return ""
	}
	return kind
}
