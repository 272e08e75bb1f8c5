package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Context is a file system that is being configured (fsopen(2)).
type Context struct {
	f *os.File
}

// NewContext starts to configure a file system of the type.
func NewContext(fstype string) (*Context, error) {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open a file system of type %s: %w", fstype, err)
	}
	return &Context{os.NewFile(uintptr(fd), fstype)}, nil
}

// Pick starts to reconfigure the file system that dir is on (fspick(2)).
func Pick(dir *os.File) (*Context, error) {
	fd, err := unix.Fspick(int(dir.Fd()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("pick the file system of %s: %w", dir.Name(), err)
	}
	return &Context{os.NewFile(uintptr(fd), "file system of "+dir.Name())}, nil
}

// Close ends the configuration. What was mounted from it stays.
func (c *Context) Close() error { return c.f.Close() }

// SetString sets an option that has a value.
func (c *Context) SetString(key, value string) error {
	return c.wrap("set "+key+"="+value, unix.FsconfigSetString(int(c.f.Fd()), key, value))
}

// SetFlag sets an option that has no value.
func (c *Context) SetFlag(key string) error {
	return c.wrap("set "+key, unix.FsconfigSetFlag(int(c.f.Fd()), key))
}

// SetFile sets an option whose value is an open file.
func (c *Context) SetFile(key string, f *os.File) error {
	return c.wrap("set "+key+" to "+f.Name(), unix.FsconfigSetFd(int(c.f.Fd()), key, int(f.Fd())))
}

// Reconfigure applies the changes to a file system that was picked.
func (c *Context) Reconfigure() error {
	return c.wrap("reconfigure", unix.FsconfigReconfigure(int(c.f.Fd())))
}

// Mount creates the file system and returns its root, mounted nowhere yet.
// attributes are unix.MOUNT_ATTR_*.
func (c *Context) Mount(attributes int) (*os.File, error) {
	if err := c.wrap("create", unix.FsconfigCreate(int(c.f.Fd()))); err != nil {
		return nil, err
	}
	fd, err := unix.Fsmount(int(c.f.Fd()), unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, c.wrap("mount", err)
	}
	return os.NewFile(uintptr(fd), "mount of "+c.f.Name()), nil
}

// wrap adds what was done and what the kernel said about it. An error code
// alone is EINVAL for nearly everything.
func (c *Context) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	if words := c.words(); words != "" {
		return fmt.Errorf("%s: %s: %w (kernel: %s)", c.f.Name(), what, err, words)
	}
	return fmt.Errorf("%s: %s: %w", c.f.Name(), what, err)
}

// maxMessages bounds what is taken from the kernel's queue, which holds 8.
const maxMessages = 16

// words takes the messages off the context's queue. Each is a level letter, a
// space and a text; a read returns one.
func (c *Context) words() string {
	var all []string
	buf := make([]byte, 1024)
	for range maxMessages {
		n, err := unix.Read(int(c.f.Fd()), buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		text := string(buf[:n])
		if len(text) > 2 && text[1] == ' ' {
			text = text[2:]
		}
		all = append(all, strings.TrimSpace(text))
	}
	return strings.Join(all, "; ")
}
