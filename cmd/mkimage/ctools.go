package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/internal/printable"
)

// ctools are the tools of libcomposefs 1.0.8 that mkimage replaces when it is called by
// their names. Options, standard output and exit statuses are the same; messages on
// standard error are ours.
var ctools = map[string]func(context.Context, *ui, []string) error{
	"mkcomposefs":     runMkcomposefs,
	"composefs-info":  runComposefsInfo,
	"mount.composefs": runMountComposefs,
}

// dispatch runs the program that args[0] names.
func dispatch(ctx context.Context, args []string, u *ui) int {
	name := filepath.Base(args[0])
	program, ok := ctools[name]
	if !ok {
		return run(ctx, args[1:], u)
	}
	err := program(ctx, u, args[1:])
	u.progress.stop()
	if err == nil {
		return 0
	}
	var usage ctoolUsageError
	if errors.As(err, &usage) {
		fmt.Fprintf(u.err, "%s: %s\n%s", name, printable.Error(usage.err), usage.text)
		return exitFailure
	}
	f := describe(err, "")
	fmt.Fprintf(u.err, "%s: %s\n", name, f.Message)
	if f.Hint != "" {
		fmt.Fprintf(u.err, "hint: %s\n", printable.Line(f.Hint))
	}
	return exitFailure
}

// A ctoolUsageError is a mistake in a command line, with the usage of the program.
type ctoolUsageError struct {
	err  error
	text string
}

func (e ctoolUsageError) Error() string { return e.err.Error() }

func ctoolUsagef(text, format string, args ...any) error {
	return ctoolUsageError{fmt.Errorf(format, args...), strings.TrimPrefix(text, "\n")}
}
