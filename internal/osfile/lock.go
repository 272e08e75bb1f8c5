package osfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock takes the lock of flock(2) on a file or directory, exclusive or shared, and waits
// for it. It is released when dir is closed.
func Lock(dir *os.File, exclusive bool) error { return flock(dir, exclusive, 0) }

// TryLock is like Lock, but doesn't wait: if the lock is held by another, it returns false
// and no error.
func TryLock(dir *os.File, exclusive bool) (bool, error) {
	err := flock(dir, exclusive, unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func flock(dir *os.File, exclusive bool, how int) error {
	if exclusive {
		how |= unix.LOCK_EX
	} else {
		how |= unix.LOCK_SH
	}
	for {
		err := unix.Flock(int(dir.Fd()), how)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", dir.Name(), err)
		}
		return nil
	}
}
