package filekind

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/composefs-go/composefs/internal/osfile"
)

// An Error says that a file isn't what is wanted.
type Error struct {
	Path  string
	Found Kind
	Want  string // as in "an image"
}

func (e *Error) Error() string { return fmt.Sprintf("%s is %s: want %s", e.Path, e.Found, e.Want) }

// OfMode tells what there is by its mode: "a directory", "a block device", or "a file".
func OfMode(m fs.FileMode) Kind {
	if m.IsRegular() {
		return "a file"
	}
	return Kind(osfile.Kind(m))
}

// OfFile tells what an open file is by its first bytes. Its offset stays.
func OfFile(f io.ReaderAt) Kind {
	head := make([]byte, HeadSize)
	n, _ := f.ReadAt(head, 0)
	return Of(head[:n])
}

// CheckDirectory returns an error unless name is a directory: an *Error if it is something
// else.
func CheckDirectory(name string) error {
	st, err := os.Stat(name)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return &fs.PathError{Op: "open", Path: name, Err: path.Err} // as for every other input
	}
	if err == nil && !st.IsDir() {
		err = &Error{name, OfMode(st.Mode()), "a directory"}
	}
	return err
}

// Open opens what is read at any place of it: a regular file, or a disk. Anything else is
// an *Error, and a pipe isn't waited for. want says what it should be, as in "an image".
func Open(name, want string) (*os.File, error) {
	f, err := os.OpenFile(name, osfile.Anything, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && st.Mode()&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		err = &Error{name, OfMode(st.Mode()), want}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
