package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/composefs-go/composefs/internal/kernel"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A ui is how a command talks: results to out, everything else to err.
type ui struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	progress progress
}

func newUI(in io.Reader, out, err io.Writer) *ui {
	u := &ui{in: in, out: out, err: err}
	if f, ok := err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		u.progress.terminal = f
	}
	return u
}

// result prints what a command found: the text, or with --json the value.
func (u *ui) result(value any, text string) error {
	if !u.json {
		_, err := fmt.Fprintln(u.out, text)
		return err
	}
	e := json.NewEncoder(u.out)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// remark says something that is good to know and isn't the result.
func (u *ui) remark(format string, args ...any) {
	if !u.quiet {
		u.progress.stop()
		fmt.Fprintf(u.err, format+"\n", args...)
	}
}

// A usageError is a command line that can't be meant.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef is an error of the command line found by the command itself.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usageError{cmd, fmt.Errorf(format, args...)}
}

// A configError is a policy or a key that composefs-setup-root wouldn't take: the
// exit status is the same.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// Exit statuses. 4 to 7 mean what they mean for composefs-setup-root.
const (
	exitFailure  = 1
	exitUsage    = 2
	exitNotFound = 4
	exitMismatch = 5
	exitRefused  = 6
	exitKernel   = 7

	// Of diff alone, as diff(1) has them.
	exitDifferent = 1
	exitTrouble   = 2
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
	{errRefused, exitRefused, ""},
	{sign.ErrRefused, exitRefused, ""},
	{verity.ErrMismatch, exitMismatch, ""},
	{errOtherImage, exitMismatch, ""},
	{repo.ErrNotRepo, exitFailure, ""},
	{unix.ENOSPC, exitFailure, "nothing was added; free some space and try again"},
	{unix.EACCES, exitFailure, "to read every file of a root file system, run as root or inside: unshare --map-auto --map-root-user"},
	{context.Canceled, exitFailure, "interrupted; nothing was added"},
}

// errRefused marks errors about seals and signatures.
var errRefused = errors.New("refused")

// fail prints an error with what to do about it and returns the exit status.
func (u *ui) fail(err error) int {
	u.progress.stop()
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	if errors.Is(err, errFindings) {
		return exitFailure
	}
	status := u.explain(err)
	var t trouble
	if status == exitFailure && errors.As(err, &t) {
		return exitTrouble
	}
	return status
}

// explain is fail for what isn't about diff.
func (u *ui) explain(err error) int {
	fmt.Fprintf(u.err, "mkimage: %s\n", oneLine(err))
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(u.err, "see: %s --help\n", usage.cmd.CommandPath())
		return exitUsage
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintln(u.err, "see: mkimage --help")
		return exitUsage
	}
	var missing *kernel.MissingError
	if errors.As(err, &missing) {
		return exitKernel
	}
	var config configError
	if errors.As(err, &config) {
		return exitUsage
	}
	for _, e := range exits {
		if errors.Is(err, e.err) {
			if e.hint != "" {
				fmt.Fprintf(u.err, "hint: %s\n", e.hint)
			}
			return e.status
		}
	}
	return exitFailure
}

// oneLine keeps joined errors and hostile names from breaking the message up.
func oneLine(err error) string {
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
