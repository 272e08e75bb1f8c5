package kernel

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// A caller makes the system calls that probes need. In tests it isn't the running kernel.
type caller interface {
	// open starts to configure a file system of the type (fsopen(2)).
	open(fstype string) (context, error)
	// filtered reports whether system calls of this process may be answered by a
	// seccomp filter in place of the kernel.
	filtered() bool
}

// A context is a file system that is being configured (fsconfig(2)).
type context interface {
	setFlag(key string) error
	setString(key, value string) error
	// setRoot sets the option to an O_PATH descriptor of "/".
	setRoot(key string) error
	// words returns the kernel's messages since the last call, one per line.
	words() (string, error)
	close()
}

// A probe finds out whether a feature is there. An error says why the answer is Unknown.
type probe func(c caller) (Presence, error)

func hasMountAPI(c caller) (Presence, error) {
	return withContext(c, "tmpfs", func(context) (Presence, error) { return Present, nil })
}

func hasFilesystem(fstype string) probe {
	return func(c caller) (Presence, error) {
		return withContext(c, fstype, func(context) (Presence, error) { return Present, nil })
	}
}

// withContext runs try on a new file system context of the type. That there is no such type,
// or no such call, is an answer. Anything else says nothing of the kernel: not being allowed
// to mount, no memory, a filter that pretends that the call doesn't exist.
func withContext(c caller, fstype string, try func(context) (Presence, error)) (Presence, error) {
	fs, err := c.open(fstype)
	switch {
	case err == nil:
		defer fs.close()
		return try(fs)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOSYS) && !c.filtered():
		return Absent, nil
	}
	return Unknown, err
}

// tell says from the error on setting an option whether the kernel has it. EINVAL has many
// reasons; which one it is the kernel says in words.
func tell(fs context, err error) (Presence, error) {
	if err == nil {
		return Present, nil
	}
	words, cause := fs.words()
	switch {
	case !errors.Is(err, unix.EINVAL):
		return Unknown, err
	case cause != nil:
		return Unknown, cause
	case strings.Contains(words, "Unknown parameter"), strings.Contains(words, "Bad value"):
		return Absent, nil
	}
	return Unknown, err
}

// hasEROFSACL reads what EROFS says about the option: built without ACLs it takes it
// all the same, with a complaint.
func hasEROFSACL(c caller) (Presence, error) {
	return withContext(c, "erofs", func(fs context) (Presence, error) {
		if p, err := tell(fs, fs.setFlag("acl")); p != Present {
			return p, err
		}
		words, err := fs.words()
		switch {
		case err != nil:
			return Unknown, err
		case strings.Contains(words, "not supported"):
			return Absent, nil
		}
		return Present, nil
	})
}

// withOverlay runs try on a context of overlayfs that looks at options when they are set.
// Before Linux 6.5 it didn't, so that every option seemed to be known.
func withOverlay(c caller, try func(context) (Presence, error)) (Presence, error) {
	return withContext(c, "overlay", func(fs context) (Presence, error) {
		switch p, err := tell(fs, fs.setString("composefs-probe", "1")); p {
		case Present:
			return Absent, nil
		case Unknown:
			return Unknown, err
		}
		return try(fs)
	})
}

// hasOverlayContext finds the kernels from 6.5 on, where overlayfs got both its
// own context and data-only layers.
func hasOverlayContext(c caller) (Presence, error) {
	return withOverlay(c, func(context) (Presence, error) { return Present, nil })
}

func hasOverlayOption(key, value string) probe {
	return func(c caller) (Presence, error) {
		return withOverlay(c, func(fs context) (Presence, error) { return tell(fs, fs.setString(key, value)) })
	}
}

// hasOverlayFD tries with an O_PATH descriptor: 6.13 and 6.14 take only others.
func hasOverlayFD(c caller) (Presence, error) {
	return withOverlay(c, func(fs context) (Presence, error) {
		err := fs.setRoot("lowerdir+")
		if errors.Is(err, unix.EBADF) {
			return Absent, nil
		}
		return tell(fs, err)
	})
}
