package dumpfile

import (
	"errors"
	"fmt"
)

// ErrSyntax is the cause of every error in the text itself, as opposed to errors in reading
// it.
var ErrSyntax = errors.New("malformed dump file")

// An Error is an error in a field of a line. It wraps ErrSyntax.
type Error struct {
	Line  int   // from 1
	Field Field // PATH, SIZE, …
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: line %d: %v: %v", ErrSyntax, e.Line, e.Field, e.Err)
}

// Unwrap returns ErrSyntax and the detail.
func (e *Error) Unwrap() []error { return []error{ErrSyntax, e.Err} }

// A Field is one of a line's fields, identified by its position.
type Field int

// The fields in their order. Xattrs stands for all fields after the others.
const (
	Path Field = iota
	Size
	Mode
	Nlink
	UID
	GID
	Rdev
	Mtime
	Payload
	Content
	Digest
	Xattrs
	fixedFields = int(Xattrs)
)

var fieldNames = [...]string{"PATH", "SIZE", "MODE", "NLINK", "UID", "GID", "RDEV", "MTIME", "PAYLOAD", "CONTENT", "DIGEST", "XATTRS"}

// String returns the field's name in capitals, as in the manual page of the format.
func (f Field) String() string {
	if f < 0 || int(f) >= len(fieldNames) {
		return fmt.Sprintf("field %d", int(f))
	}
	return fieldNames[f]
}
