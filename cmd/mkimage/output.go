package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
)

// standardOutputs are the names of standard output. Whatever it is, it is written to and
// not replaced: it may be a pipe, or a file opened for appending.
var standardOutputs = map[string]bool{"-": true, "/dev/stdout": true, "/dev/fd/1": true, "/proc/self/fd/1": true}

// writeOutput writes a file that the user has named. A regular file appears whole or not
// at all, and replaces one of that name; a symbolic link stays, and the file that it
// points to is replaced. Pipes and /dev/null are written to. Anything else is refused: it
// would be a regular file afterwards.
func (u *ui) writeOutput(name string, write func(io.Writer) error) error {
	path, err := outputPath(name)
	var elsewhere error // in reading what is to be written, for instance
	contents := func(w io.Writer) error {
		out := &stoppableWriter{ctx: u.ctx, w: w}
		err := write(out)
		if out.err == nil {
			elsewhere = err
		}
		return err
	}
	switch {
	case err == nil && standardOutputs[name]:
		err = u.writeStandardOutput(contents)
	case err == nil && osfile.IsStream(path):
		err = writeStream(path, contents)
	case err == nil:
		err = replaceFile(path, contents)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write %s: %w", name, withoutPath(err, path))
	if elsewhere != nil {
		return err
	}
	return refusedAt(inOutput, err)
}

func (u *ui) writeOutputBytes(name string, b []byte) error {
	return u.writeOutput(name, func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(b)); return err })
}

// checkOutputs finds out before the work whether writeOutput will take the names.
// Empty ones stand for nothing.
func checkOutputs(names ...string) error {
	for _, name := range names {
		if name == "" {
			continue
		}
		path, err := outputPath(name)
		switch {
		case err != nil || standardOutputs[name]:
		case osfile.IsStream(path):
			err = osfile.CheckStream(path)
		default:
			err = checkDir(filepath.Dir(path))
		}
		if err != nil {
			return refusedAt(inOutput, fmt.Errorf("write %s: %w", name, withoutPath(err, path)))
		}
	}
	return nil
}

// checkReplaceable is checkOutputs for a file that is read the next time: pipes, /dev/null
// and standard output, where nothing stays, won't do either.
func checkReplaceable(name string) error {
	if standardOutputs[name] {
		return fmt.Errorf("write %s: want a regular file or a new name, found standard output", name)
	}
	err := checkOutputs(name)
	if err != nil || name == "" {
		return err
	}
	path, err := osfile.FollowLinks(name)
	if err == nil {
		err = osfile.Replaceable(path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, withoutPath(err, path))
	}
	return nil
}

// kernelsOwn are file systems of the kernel, in which no files can be made.
var kernelsOwn = map[int64]string{
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.CGROUP2_SUPER_MAGIC: "cgroup",
	unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs", unix.SECURITYFS_MAGIC: "securityfs", unix.DEVPTS_SUPER_MAGIC: "devpts",
}

// checkDir finds out whether a file can be made in a directory.
func checkDir(dir string) error {
	if err := filekind.CheckDirectory(dir); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && kernelsOwn[int64(st.Type)] != "" {
		return fmt.Errorf("%s is in the kernel's %s file system, where no file can be made", dir, kernelsOwn[int64(st.Type)])
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("no file can be made in %s: %w", dir, err)
	}
	return nil
}

// outputPath returns where the file of the name will be.
func outputPath(name string) (string, error) {
	if standardOutputs[name] {
		return name, nil
	}
	path, err := osfile.FollowLinks(name)
	if err != nil || osfile.IsStream(path) {
		return path, err
	}
	if err := osfile.Replaceable(path); err != nil {
		return path, err
	}
	return path, keepSecret(path)
}

// A secretError is a file with a private key, in whose place something would be written.
type secretError struct{ Path string }

func (e *secretError) Error() string { return "there is a private key, which is never replaced" }

// keepSecret returns a secretError if the file at path holds a private key.
func keepSecret(path string) error {
	text, err := readStart(path, maxForeignKey)
	if err != nil {
		return nil // there is none, or none that can be told
	}
	if filekind.HoldsSecret(text) {
		return &secretError{path}
	}
	return nil
}

// writeStandardOutput writes to standard output. From then on results go to standard error.
func (u *ui) writeStandardOutput(write func(io.Writer) error) error {
	if f, ok := u.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return errors.New("standard output is a terminal, and this is no text; redirect it")
	}
	w := bufio.NewWriter(u.out)
	u.out = u.err
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// umask is the process's. It can only be read by setting it, which is safe before there are
// other goroutines.
var umask = func() os.FileMode {
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return os.FileMode(mask)
}()

func writeStream(path string, write func(io.Writer) error) error {
	f, err := osfile.OpenStream(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}

func replaceFile(path string, write func(io.Writer) error) error {
	dir, err := osfile.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	osfile.Sweep(dir)
	return osfile.Replace(dir, filepath.Base(path), 0o666&^umask, func(f *os.File) error { return write(f) })
}

// withoutPath keeps an error from saying the name a second time.
func withoutPath(err error, path string) error {
	var special *osfile.SpecialError
	var pathErr *fs.PathError
	switch {
	case errors.As(err, &special):
		return notAFile{special}
	case errors.As(err, &pathErr) && pathErr.Path == path:
		return pathErr.Err
	case pathErr != nil && pathErr.Op == "lstat": // on the way
		return openError(pathErr.Path, err)
	}
	return err
}

// A notAFile is a SpecialError without the path.
type notAFile struct{ *osfile.SpecialError }

func (e notAFile) Unwrap() error { return e.SpecialError }

func (e notAFile) Error() string { return "want a regular file or a new name, found " + e.Kind() }
