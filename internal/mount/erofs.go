package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/kernel"
)

// EROFS mounts the image that is open as image, read-only, and returns the root
// of it, mounted nowhere yet. acl says whether the image has POSIX ACLs; without
// them the kernel needn't look. Kernels that don't mount from a file get a loop
// device, which goes away with the mount.
func EROFS(k *kernel.Kernel, image *os.File, acl bool) (*os.File, error) {
	if err := errors.Join(k.Need(kernel.MountAPI), k.Need(kernel.EROFS)); err != nil {
		return nil, err
	}
	if k.Has(kernel.EROFSFile) {
		m, err := erofs(procPath(image), acl)
		// ENOTBLK is how a kernel without CONFIG_EROFS_FS_BACKED_BY_FILE says it.
		k.Learn(kernel.EROFSFile, !errors.Is(err, unix.ENOTBLK))
		if !errors.Is(err, unix.ENOTBLK) {
			return m, err
		}
	}
	loop, err := attachLoop(image)
	if err != nil {
		return nil, fmt.Errorf("%w, and no loop device instead: %w", k.Need(kernel.EROFSFile), err)
	}
	// The mount keeps the device; closing our descriptor lets go of it afterwards.
	defer loop.Close()
	return erofs(loop.Name(), acl)
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
