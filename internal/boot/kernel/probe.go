package kernel

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

func hasMountAPI() bool {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return !errors.Is(err, unix.ENOSYS)
	}
	unix.Close(fd)
	return true
}

// withContext runs try on a new file system context of the type. Who may not
// mount can't find out; the answer is yes then, for mounting to find out.
func withContext(fstype string, try func(fd int) bool) bool {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return errors.Is(err, unix.EPERM)
	}
	defer unix.Close(fd)
	return try(fd)
}

func hasFilesystem(fstype string) bool {
	return withContext(fstype, func(int) bool { return true })
}

// hasEROFSACL reads what EROFS says about the option: built without ACLs it takes it
// all the same, with a complaint.
func hasEROFSACL() bool {
	return withContext("erofs", func(fd int) bool {
		if unix.FsconfigSetFlag(fd, "acl") != nil {
			return false
		}
		words := make([]byte, 256)
		n, err := unix.Read(fd, words)
		return err != nil || !bytes.Contains(words[:n], []byte("not supported"))
	})
}

// validates reports whether overlayfs looks at an option when it is set. Before
// 6.5 it didn't, so that every option seemed to be known.
func validates(fd int) bool {
	return unix.FsconfigSetString(fd, "composefs-probe", "1") != nil
}

// hasOverlayContext finds the kernels from 6.5 on, where overlayfs got both its
// own context and data-only layers.
func hasOverlayContext() bool { return withContext("overlay", validates) }

func hasOverlayOption(key, value string) bool {
	return withContext("overlay", func(fd int) bool {
		return validates(fd) && unix.FsconfigSetString(fd, key, value) == nil
	})
}

// hasOverlayFD tries with an O_PATH descriptor: 6.13 and 6.14 take only others.
func hasOverlayFD() bool {
	dir, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	return withContext("overlay", func(fd int) bool {
		return validates(fd) && unix.FsconfigSetFd(fd, "lowerdir+", dir) == nil
	})
}
