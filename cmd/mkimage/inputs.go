package main

import (
	"errors"
	"io/fs"
)

// isUnreadable reports whether an error is about a file that isn't there or can't be
// read, as opposed to one with the wrong content.
func isUnreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) || errors.Is(err, fs.ErrNotExist)
}

// openError returns err as an error of opening the file, whichever call it came from.
func openError(name string, err error) error {
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	return &fs.PathError{Op: "open", Path: name, Err: err}
}
