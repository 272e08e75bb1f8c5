package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// Causes of errors in the archive itself, as opposed to errors in reading it or storing its
// contents.
var (
	ErrArchive  = errors.New("unusable tar archive")
	ErrTooLarge = errors.New("tar archive goes beyond a limit")
	ErrTooMany  = errors.New("too many entries") // more than Options.MaxEntries
	ErrNoEnd    = errors.New("the archive ends here without two blocks of zeros: it may be truncated")
)

// A LinkError says that a path leads through a symbolic link, and Options.FollowLinks
// isn't set.
type LinkError struct {
	Path, Target string
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("want a directory at %.300q, found a symbolic link to %.300q", e.Path, e.Target)
}

// A NoNumberError says that an access control list names a user or group whose number
// isn't in the archive.
type NoNumberError struct{ Name string }

func (e *NoNumberError) Error() string {
	return fmt.Sprintf("the number of %q isn't in the archive", e.Name)
}

// A PackedError says that an archive has an unsupported compression, and which program
// unpacks it.
type PackedError struct {
	Packed string // name of the compression
	Unpack string // command that takes the name of a file and writes to standard output
	Window int64  // if not 0: the compression is supported, but its window exceeds this limit, in bytes
}

func (e *PackedError) Error() string {
	if e.Window > 0 {
		return fmt.Sprintf("unpacking the archive takes a %s window of more than %d MiB, which is the limit", e.Packed, e.Window>>20)
	}
	return fmt.Sprintf("the archive is packed with %s: want plain, gzip or zstd", e.Packed)
}

// An Error says which entry is at fault. It wraps ErrArchive.
type Error struct {
	Entry int64  // from 1; 0 before the first entry
	Name  string // as the archive has it
	Err   error
}

func (e *Error) Error() string {
	if e.Entry == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("entry %d, %.300q: %v", e.Entry, e.Name, e.Err)
}

// Unwrap returns ErrArchive and the detail.
func (e *Error) Unwrap() []error { return []error{ErrArchive, e.Err} }

// fault says that the current entry is at fault.
func (b *Builder) fault(err error) error { return &Error{b.entries, b.name, err} }

func (b *Builder) faultf(format string, args ...any) error {
	return b.fault(fmt.Errorf(format, args...))
}

func quoted(name string) string { return fmt.Sprintf("%.300q", name) }

// explain turns the errors of archive/tar into sentences.
func explain(err error) error {
	var packed *PackedError
	switch {
	case errors.As(err, &packed):
		return packed
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("the archive is truncated: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("a header is damaged, or this is no tar archive: %w", err)
	case errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("a name or the extended attributes are longer than a megabyte: %w", err)
	}
	return err
}
