package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// setupRootPlaces are the places where composefs-setup-root is looked for. Those that begin
// with a dot are relative to mkimage's directory, for build directories and installations
// below any PREFIX.
var setupRootPlaces = []string{
	"./composefs-setup-root", "../lib/composefs/composefs-setup-root", "../libexec/composefs-setup-root",
	"/usr/lib/composefs/composefs-setup-root", "/usr/libexec/composefs-setup-root",
}

// findSetupRoot reads composefs-setup-root from the first place that has it.
func findSetupRoot() ([]byte, error) {
	var looked []string
	for _, name := range setupRootPlaces {
		if strings.HasPrefix(name, ".") {
			self, err := os.Executable()
			if err != nil {
				continue
			}
			name = filepath.Join(filepath.Dir(self), name)
		}
		looked = append(looked, name)
		program, err := readSetupRoot(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return program, err
		}
	}
	return nil, fmt.Errorf("composefs-setup-root for %s is in none of %s: name it with --setup-root", runtime.GOARCH, strings.Join(looked, ", "))
}

// readSetupRoot reads composefs-setup-root, and says what to do about another program.
func readSetupRoot(name string) ([]byte, error) {
	program, err := readSmall(name, maxProgram)
	if err != nil {
		return nil, err
	}
	err = initrd.CheckSetupRoot(program)
	var other *initrd.ProgramError
	switch {
	case err == nil:
		return program, nil
	case !errors.As(err, &other) || other.Err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case other.Dynamic:
		return nil, fmt.Errorf("%s: %w: build it with CGO_ENABLED=0", name, err)
	}
	return nil, fmt.Errorf("%s: %w: make it with `make build`, or leave --setup-root out", name, err)
}

// initrdAdvice says what to do about parts that don't fit together.
func initrdAdvice(err error) error {
	var machine *initrd.MachineError
	var dir *initrd.ModulesDirError
	switch {
	case errors.As(err, &machine):
		return fmt.Errorf("%w: build composefs-setup-root for that one (GOARCH) and name it with --setup-root", err)
	case errors.As(err, &dir):
		return fmt.Errorf("%w: name one, as in %s", err, dir.Versions[len(dir.Versions)-1])
	}
	return err
}
