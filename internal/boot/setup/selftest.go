package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/elf"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// maxInterpreters is how many programs are followed from one to the next: a
// script, its interpreter, the dynamic linker.
const maxInterpreters = 4

// osRelease is read too if the image has it, as an example of a file that every
// service needs.
const osRelease = "/usr/lib/os-release"

// SelfTest reads files through the new root while there is still a way back. The
// kernel checks the content of an object when it is opened and read, so a bad
// object, or a kernel whose check is broken, would otherwise show only after the
// root has been switched.
func (l *linux) SelfTest(inits []string) error {
	init, err := l.findInit(inits)
	if err != nil {
		return err
	}
	for range maxInterpreters {
		if init, err = l.readProgram(init); err != nil {
			return err
		}
		if init == "" {
			break
		}
	}
	if _, err := l.readProgram(osRelease); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// findInit returns the first path that names something.
func (l *linux) findInit(inits []string) (string, error) {
	for _, name := range inits {
		f, err := osfile.OpenInRoot(l.root, name, unix.O_PATH)
		if err == nil {
			f.Close()
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("self-test: look for the init program: %w", err)
		}
	}
	return "", problem(NoInit, "self-test: the image has no init program, neither of %s is there", strings.Join(inits, ", "))
}

// readProgram reads all of a file and returns the interpreter that it names, if
// any.
func (l *linux) readProgram(name string) (interpreter string, err error) {
	found, err := osfile.OpenInRoot(l.root, name, unix.O_PATH)
	if err != nil {
		return "", fmt.Errorf("self-test: open %s: %w", name, err)
	}
	defer found.Close()
	f, err := osfile.OpenInRoot(l.root, name, osfile.Anything)
	if err != nil {
		return "", l.explain(name, err)
	}
	defer f.Close()
	if err := osfile.WantRegular(f); err != nil {
		return "", fmt.Errorf("self-test: %w", err)
	}
	if err := copyAll(io.Discard, f); err != nil {
		return "", l.explain(name, err)
	}
	return interpreterOf(f), nil
}

// explain finds out why a file of the new root can't be read: its object is
// missing, changed or damaged, or else it is the kernel that is wrong.
func (l *linux) explain(name string, cause error) error {
	// The path in the error belongs to a mount that isn't attached anywhere yet.
	var at *fs.PathError
	if errors.As(cause, &at) {
		cause = at.Err
	}
	object, size, err := l.objectOf(name)
	if err != nil {
		return fmt.Errorf("self-test: %s of the image can't be read: %w", name, cause)
	}
	why := l.examine(object, size)
	if why == "" {
		return problem(BadKernel, "self-test: %s of the image can't be read: %w: object composefs/objects/%s is intact, so it is kernel %s that is wrong: overlayfs verity is broken in some of the 7.0 series",
			name, cause, object.ObjectPath(), l.kernel.Release())
	}
	return problem(BadObject, "self-test: %s of the image can't be read: %w: object composefs/objects/%s %s", name, cause, object.ObjectPath(), why)
}

// objectOf asks the image's metadata, without the overlay, for the object that a
// file's content is in, and for its size.
func (l *linux) objectOf(name string) (verity.Digest, int64, error) {
	f, err := osfile.OpenInRoot(l.meta, name, osfile.Anything)
	if err != nil {
		return verity.Digest{}, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return verity.Digest{}, 0, err
	}
	buf := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), "trusted.overlay.redirect", buf)
	if err != nil {
		return verity.Digest{}, 0, err
	}
	d, err := verity.ParseObjectPath(strings.TrimPrefix(string(buf[:n]), "/"))
	return d, info.Size(), err
}

// examine returns what is wrong with an object, "" if nothing is.
func (l *linux) examine(d verity.Digest, size int64) string {
	f, err := osfile.OpenPlain(l.store, path.Join("objects", d.ObjectPath()), osfile.Anything)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is missing"
	case errors.Is(err, unix.ELOOP):
		return "is a symbolic link, which overlayfs doesn't follow"
	case err != nil:
		return "can't be opened"
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return "is no regular file"
	case info.Size() != size:
		return "has another size than the image says"
	}
	measured, err := l.digestOf(f, d.Algorithm())
	switch {
	case errors.Is(err, verity.ErrNotEnabled), errors.Is(err, verity.ErrUnsupported):
		return "has no fs-verity digest"
	case err != nil:
		return "can't be measured"
	case measured != d:
		return "has another fs-verity digest"
	}
	if copyAll(io.Discard, f) != nil {
		return "is damaged on disk"
	}
	return ""
}

// interpreterOf returns the program that runs this one, named after #! or in its ELF
// header; "" if there is none, or if it makes no sense.
func interpreterOf(f *os.File) string {
	head := make([]byte, 256)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	if line, ok := strings.CutPrefix(string(head), "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		if words := strings.Fields(line); len(words) > 0 && path.IsAbs(words[0]) {
			return words[0]
		}
		return ""
	}
	return elf.Interpreter(f)
}
