package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// Attach mounts the detached tree m on the name beneath dir; "" is dir itself. A
// symbolic link there is refused.
func Attach(m, dir *os.File, name string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if name == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	err := unix.MoveMount(int(m.Fd()), "", int(dir.Fd()), name, flags)
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.Name(), path.Join(dir.Name(), name), err)
	}
	return nil
}

// Clone returns a detached second view of what is at dir: a bind mount that is
// mounted nowhere yet. Mounts below it aren't part of it.
func Clone(dir *os.File) (*os.File, error) {
	fd, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("clone the mount at %s: %w", dir.Name(), err)
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

// SetReadOnly makes the mount m read-only, whatever the file system is.
func SetReadOnly(m *os.File) error {
	return setattr(m, "read-only", &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// SetWritable undoes SetReadOnly.
func SetWritable(m *os.File) error {
	return setattr(m, "writable", &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
}

// SetPrivate separates the mount m from its peers: mounting and unmounting below it
// doesn't affect them any more, and it may be moved.
func SetPrivate(m *os.File) error {
	return setattr(m, "private", &unix.MountAttr{Propagation: unix.MS_PRIVATE})
}

// SetAttributes clears the attributes in clear (unix.MOUNT_ATTR_*) of the mount m and
// then sets the ones in set.
func SetAttributes(m *os.File, set, clear uint64) error {
	return setattr(m, "a mount with other attributes", &unix.MountAttr{Attr_set: set, Attr_clr: clear})
}

// SetIDMap lets the mount m show owners as the user namespace maps them. userns is
// a file like /proc/PID/ns/user; m has been attached nowhere yet.
func SetIDMap(m, userns *os.File) error {
	return setattr(m, "ID-mapped by "+userns.Name(), &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())})
}

func setattr(m *os.File, what string, attr *unix.MountAttr) error {
	if err := unix.MountSetattr(int(m.Fd()), "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("make %s %s: %w", m.Name(), what, err)
	}
	return nil
}

// Unmount removes the mount at path. If it is in use or has others below it, it stays,
// and the error is a unix.EBUSY.
func Unmount(path string) error {
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "unmount", Path: path, Err: err}
	}
	return nil
}

// Detach removes the topmost mount at path, with all below it, from the tree of mounts.
// It is unmounted when the last file in it is closed.
func Detach(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "unmount", Path: path, Err: err}
	}
	return nil
}

// IsReadOnly reports whether dir can't be written to because of how it is mounted.
func IsReadOnly(dir *os.File) (bool, error) {
	var st unix.Statfs_t
	for {
		err := unix.Fstatfs(int(dir.Fd()), &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return st.Flags&unix.ST_RDONLY != 0, err
	}
}

// procPath names an open file by its descriptor, for where only paths are taken.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
