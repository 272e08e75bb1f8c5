// Package disktool runs the programs of util-linux, e2fsprogs, dosfstools and mtools, which
// make and read disks.
//
// They run in a directory of their own, where the disk has a name of ours: "?" and "@@"
// in a path mean something to debugfs and mtools. They see no locale, time zone or
// configuration of the machine. A disk may be hostile, so what a program prints about it is
// bounded; if it fails, the error is a *MissingError or an *Error.
package disktool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A MissingError is a program that isn't installed.
type MissingError struct{ Program string }

func (e *MissingError) Error() string { return "the program " + e.Program + " is not installed" }

// An Error is a program that didn't do its work.
type Error struct {
	Program string
	Said    string // what it wrote to standard error, up to 64 KiB
	Err     error  // an *exec.ExitError, ErrTooLong, or why it couldn't run
}

// Error says what the program had to say last.
func (e *Error) Error() string {
	said := LastLine(e.Said)
	var exit *exec.ExitError
	switch {
	case !errors.As(e.Err, &exit):
		return fmt.Sprintf("%s: %v", e.Program, e.Err)
	case said == "":
		return fmt.Sprintf("%s failed (%v) and didn't say why", e.Program, exit)
	}
	return e.Program + ": " + strings.TrimPrefix(said, e.Program+": ")
}

func (e *Error) Unwrap() error { return e.Err }

// ErrTooLong is the cause when a program prints more than it was allowed to.
var ErrTooLong = errors.New("it prints more than was to be expected")

// Find returns the path of a program. The PATH of an ordinary user often lacks the
// directories where these are, so they are looked into as well.
func Find(program string) (string, error) {
	for _, name := range []string{program, filepath.Join("/usr/sbin", program), filepath.Join("/sbin", program)} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{program}
}

// A Dir is a directory that programs run in.
type Dir struct {
	Path string
	Env  []string // KEY=VALUE, what the programs see beside the least that they need
}

// Command prepares a program.
func (d Dir) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	path, err := Find(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = d.Path
	cmd.Env = append([]string{
		"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH"), "DEBUGFS_PAGER=__none__", "MTOOLSRC=" + os.DevNull,
	}, d.Env...)
	return cmd, nil
}

// maxSaid is how much of what a program complains about is kept, in bytes.
const maxSaid = 64 << 10

// Run runs a program to its end and returns what it wrote to standard output, which
// may be limit bytes, and to standard error. Standard input may be nil.
func (d Dir) Run(ctx context.Context, limit int64, stdin io.Reader, program string, args ...string) (out []byte, said string, err error) {
	cmd, err := d.Command(ctx, program, args...)
	if err != nil {
		return nil, "", err
	}
	stdout, stderr := &boundedBuffer{left: limit}, &Head{Max: maxSaid}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case stdout.left < 0:
		return nil, "", &Error{program, stderr.String(), ErrTooLong}
	case err != nil:
		return nil, "", &Error{program, stderr.String(), err}
	}
	return stdout.buf.Bytes(), stderr.String(), nil
}

// A boundedBuffer is a buffer that refuses to grow past a size, which ends the program that
// writes to it.
type boundedBuffer struct {
	buf  bytes.Buffer
	left int64
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, ErrTooLong
	}
	return b.buf.Write(p)
}

// A Head keeps the first Max bytes that are written to it.
type Head struct {
	Max int
	buf bytes.Buffer
}

func (h *Head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), max(0, h.Max-h.buf.Len()))])
	return len(p), nil
}

func (h *Head) String() string { return h.buf.String() }

// maxLine is how much of a line is worth showing, in bytes.
const maxLine = 300

// FirstLine returns the first complaint in what a program wrote to standard error, ""
// if there is none. The line with which debugfs greets isn't one.
func FirstLine(said string) string {
	for line := range strings.Lines(said) {
		if line = complaint(line); line != "" {
			return line
		}
	}
	return ""
}

// LastLine is FirstLine for the last one.
func LastLine(said string) string {
	for _, line := range slices.Backward(strings.Split(said, "\n")) {
		if line = complaint(line); line != "" {
			return line
		}
	}
	return ""
}

// complaint returns a line without the white space around it, and "" for "debugfs 1.47.0
// (5-Feb-2023)".
func complaint(line string) string {
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "debugfs 1.") {
		return ""
	}
	return strings.ToValidUTF8(line[:min(len(line), maxLine)], "")
}
