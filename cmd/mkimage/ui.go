package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/composefs-go/composefs/internal/printable"
)

// A ui is how a command talks: results to out, everything else to err.
type ui struct {
	ctx      context.Context // ends with the first signal
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	repo     string // that the command was given
	progress progress
}

func newUI(in io.Reader, out, err io.Writer) *ui {
	u := &ui{ctx: context.Background(), in: in, out: out, err: err}
	if f, ok := err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		u.progress.terminal = f
	}
	return u
}

// result prints what a command found: the text, which may have several lines, or with
// --json the value.
func (u *ui) result(value any, text string) error {
	if !u.json {
		_, err := fmt.Fprintln(u.out, printable.Lines(text))
		return err
	}
	if u.out == u.err { // standard output has been written to
		u.errorLine(value)
		return nil
	}
	encoded, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = u.out.Write(append(printable.JSON(encoded), '\n'))
	return err
}

// remark says something that is good to know and isn't the result.
func (u *ui) remark(format string, args ...any) {
	if u.quiet {
		return
	}
	u.progress.stop()
	text := printable.Sprintf(format, args...)
	if u.json {
		u.errorLine(struct {
			Remark string `json:"remark"`
		}{text})
		return
	}
	fmt.Fprintln(u.err, "remark: "+text)
}

// errorLine prints a value to standard error, which with --json has one on each line.
func (u *ui) errorLine(value any) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if e.Encode(value) == nil {
		_, _ = u.err.Write(printable.JSON(line.Bytes())) // there is no place left to report an error
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

// A mismatchError is an image that isn't what its digest says, or can't be shown to be.
type mismatchError struct{ error }

func (e mismatchError) Unwrap() error { return e.error }

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
