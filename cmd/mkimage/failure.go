package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/kernel"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// exits says which errors have an exit status of their own, and what helps.
// The first row that matches counts.
var exits = []struct {
	err    error
	status int
	hint   string
}{
	{repo.ErrNoImage, exitNotFound, "list what there is with: ls REPO/images REPO/images/refs"},
	{repo.ErrNoObject, exitNotFound, "the repository is incomplete; build the image again to fill it in"},
	{repo.ErrInterrupted, exitFailure, "name the public keys of the seal with --keys"},
	{errOlder, exitRefused, "take a higher --sequence, or say --force if going back is meant"},
	{errRefused, exitRefused, ""},
	{sign.ErrRefused, exitRefused, ""},
	{verity.ErrMismatch, exitMismatch, ""},
	{errOtherImage, exitMismatch, ""},
	{repo.ErrNotRepo, exitFailure, ""},
	{unix.ENOSPC, exitFailure, "nothing was added; free some space and try again"},
	{unix.EACCES, exitFailure, "to read every file of a root file system, run as root or inside: unshare --map-auto --map-root-user"},
}

// errRefused marks errors about seals and signatures.
var errRefused = errors.New("refused")

// A failure is an error as it is told: docs/json.md has its keys.
type failure struct {
	Message string `json:"message"`
	Status  int    `json:"status"`
	Hint    string `json:"hint,omitempty"`
	Path    string `json:"path,omitempty"` // of the file that it is about, if it is about one
	Help    string `json:"help,omitempty"` // the command that says how a command line is meant
}

// describe finds out what there is to say about an error.
func describe(err error) failure {
	f := failure{Message: oneLine(err), Status: exitFailure, Path: pathOf(err)}
	var usage usageError
	var stop interrupted
	var missing *kernel.MissingError
	var config configError
	var mismatch mismatchError
	switch {
	case errors.As(err, &stop):
		return failure{Message: stop.Error(), Status: stop.status()}
	case errors.As(err, &usage):
		f.Status, f.Help = exitUsage, usage.cmd.CommandPath()+" --help"
		return f
	case errors.As(err, &missing):
		f.Status = exitKernel
		return f
	case errors.As(err, &config):
		f.Status = exitUsage
		return f
	case errors.As(err, &mismatch):
		f.Status = exitMismatch
		return f
	}
	for _, e := range exits {
		if errors.Is(err, e.err) {
			f.Status, f.Hint = e.status, e.hint
			break
		}
	}
	return f
}

// pathOf returns the path that an error is about.
func pathOf(err error) string {
	var path *fs.PathError
	var special *osfile.SpecialError
	switch {
	case errors.As(err, &special):
		return special.Path
	case errors.As(err, &path):
		return path.Path
	}
	return ""
}

// fail prints an error with what to do about it and returns the exit status.
func (u *ui) fail(err error) int {
	u.progress.stop()
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	if errors.Is(err, errFindings) {
		return exitFailure
	}
	f := describe(err)
	var t trouble
	if f.Status == exitFailure && errors.As(err, &t) {
		f.Status = exitTrouble
	}
	if u.json {
		u.errorLine(f)
	} else {
		fmt.Fprint(u.err, f)
	}
	return f.Status
}

// String is a failure for people, with the ends of its lines.
func (f failure) String() string {
	s := "mkimage: " + f.Message + "\n"
	if f.Help != "" {
		s += "see: " + f.Help + "\n"
	}
	if f.Hint != "" {
		s += "hint: " + f.Hint + "\n"
	}
	return s
}

// oneLine keeps joined errors and hostile names from breaking the message up.
func oneLine(err error) string {
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
