package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
)

// EROFS mounts an open image read-only and returns its root, mounted nowhere yet. acl
// says whether the image may have POSIX ACLs; if not, the kernel doesn't look for them.
// For a kernel that can't mount EROFS from a file, and for a file in memory, it makes a
// loop device, which disappears with the mount.
func EROFS(k *kernel.Kernel, image *os.File, acl bool) (*os.File, error) {
	if err := errors.Join(k.Need(kernel.MountAPI), k.Need(kernel.EROFS)); err != nil {
		return nil, err
	}
	memory := onTmpfs(image)
	if !k.Lacks(kernel.EROFSFile) && !memory {
		m, err := erofs(procPath(image), acl)
		switch {
		case err == nil:
			k.Learn(kernel.EROFSFile, kernel.Present)
			return m, nil
		case !errors.Is(err, unix.ENOTBLK):
			return nil, err
		}
		// That is how a kernel without CONFIG_EROFS_FS_BACKED_BY_FILE says it.
		k.Learn(kernel.EROFSFile, kernel.Absent)
	}
	loop, err := attachLoop(image)
	switch {
	case err != nil && memory:
		return nil, fmt.Errorf("make a loop device of an image in memory: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w, and no loop device instead: %w", k.Need(kernel.EROFSFile), err)
	}
	// The mount keeps the device, which frees itself after the mount once we have closed it.
	defer loop.Close()
	return erofs(loop.Name(), acl)
}

// onTmpfs reports whether a file is on tmpfs, from which no kernel's EROFS can read
// directly: tmpfs lacks the call by which EROFS gets the pages of a file.
func onTmpfs(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.TMPFS_MAGIC
}

func erofs(source string, acl bool) (*os.File, error) {
	c, err := NewContext("erofs")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetString("source", source); err != nil {
		return nil, err
	}
	if err := c.SetFlag("ro"); err != nil {
		return nil, err
	}
	if !acl {
		// A kernel built without ACLs doesn't know the option, nor need it.
		if err := c.SetFlag("noacl"); err != nil && !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
	}
	return c.Mount(unix.MOUNT_ATTR_RDONLY)
}
