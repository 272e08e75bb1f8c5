package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/composefs-go/composefs/internal/osfile"
)

// wantDirectory is what every command says of a directory that isn't there, or isn't one.
func wantDirectory(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return openError(name, err)
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is %s: want a directory", name, kindOf(st.Mode()))
	}
	return nil
}

// openFile opens what is read at any place of it: a regular file, or a disk. It waits for
// nobody if it is a pipe. what says what it should be, as in "an image".
func openFile(name, what string) (*os.File, error) {
	f, err := os.OpenFile(name, osfile.Anything, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && !isBlockDevice(st.Mode()) {
		err = fmt.Errorf("%s is %s: want %s", name, kindOf(st.Mode()), what)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func isBlockDevice(m fs.FileMode) bool {
	return m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0
}

// kindOf says what there is, as in "a directory".
func kindOf(m fs.FileMode) string {
	if m.IsRegular() {
		return "a file"
	}
	return (&osfile.SpecialError{Mode: m}).Kind()
}

// isUnreadable reports whether an error is about a file that isn't there or can't be
// read, as opposed to one with the wrong content.
func isUnreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) || errors.Is(err, fs.ErrNotExist)
}

// openError is an error of opening a file, by whatever call it was found.
func openError(name string, err error) error {
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	return &fs.PathError{Op: "open", Path: name, Err: err}
}
