package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are what the work is left to, and the packages of Debian and Fedora
// that have them.
var programs = []struct{ name, packages string }{
	{"mke2fs", "e2fsprogs"},
	{"debugfs", "e2fsprogs"},
	{"mkfs.vfat", "dosfstools"},
	{"mmd", "mtools"},
	{"mcopy", "mtools"},
	{"mdir", "mtools"},
}

// ErrTool is the cause when a program is missing or doesn't do its work.
var ErrTool = errors.New("can't do without a program")

// findTools returns the programs' paths. PATH of an ordinary user often lacks
// the directories where they are, so those are looked into as well.
func findTools() (map[string]string, error) {
	found := make(map[string]string)
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if err != nil {
				path, err = exec.LookPath(filepath.Join(dir, p.name))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s is not installed; install the package %s", ErrTool, p.name, p.packages)
		}
		found[p.name] = path
	}
	return found, nil
}

// Files in the directory in which the programs run. They see no other name of
// them: "?" and "@@" in a path mean something to debugfs and mtools.
const (
	imageFile  = "disk"
	mke2fsFile = "mke2fs.conf"
)

// environment is all that the programs see: no locale, time zone or
// configuration of the machine, and one time.
func environment(epoch int64) []string {
	return []string{
		"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH"), "DEBUGFS_PAGER=__none__",
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", epoch),
		"MKE2FS_CONFIG=" + mke2fsFile, "MTOOLSRC=" + os.DevNull,
	}
}

// command prepares a program in the scratch directory.
func (w *writer) command(ctx context.Context, epoch int64, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.tools[name], args...)
	cmd.Env = environment(epoch)
	cmd.Dir = w.scratch
	return cmd
}

// run runs a program to its end; what it has to say is the error.
func (w *writer) run(ctx context.Context, epoch int64, stdin io.Reader, name string, args ...string) error {
	cmd := w.command(ctx, epoch, name, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s: %w: %.1000s", ErrTool, name, cause(ctx, err), strings.TrimSpace(said.String()))
	}
	return nil
}

// cause prefers the reason why the context ended to "signal: killed".
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
