package osfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unnamed makes a file without a name in a directory, for what is needed only as long as it is
// open.
func Unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	f, err := os.CreateTemp(dir, "mkimage-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
