package kernel

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// system is the running kernel.
type system struct{}

func (system) open(fstype string) (context, error) {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return fscontext(fd), nil
}

func (system) filtered() bool {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	// EINVAL is a kernel without seccomp; another error comes from a filter.
	return mode != 0 && !errors.Is(err, unix.EINVAL)
}

// fscontext is a descriptor of fsopen(2).
type fscontext int

func (fd fscontext) setFlag(key string) error { return unix.FsconfigSetFlag(int(fd), key) }

func (fd fscontext) setString(key, value string) error {
	return unix.FsconfigSetString(int(fd), key, value)
}

func (fd fscontext) setRoot(key string) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	return unix.FsconfigSetFd(int(fd), key, root)
}

func (fd fscontext) close() { unix.Close(int(fd)) }

// words reads the context's queue, of which each read takes one message: at most 8.
func (fd fscontext) words() (string, error) {
	var all strings.Builder
	b := make([]byte, 1024)
	for {
		n, err := unix.Read(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENODATA):
			return all.String(), nil
		case err != nil:
			return "", err
		case n == 0:
			return all.String(), nil
		default:
			all.Write(b[:n])
			all.WriteByte('\n')
		}
	}
}
