package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/osfile"
)

// MountImage mounts the file that was measured: by its descriptor, not its name.
func (l *linux) MountImage() error {
	header, err := erofs.ReadHeader(l.image)
	if err != nil {
		return fmt.Errorf("image %s: %w", l.image.Name(), err)
	}
	if header.HasACL {
		if err := l.kernel.Need(kernel.EROFSACL); err != nil {
			return fmt.Errorf("the image has access control lists: %w", err)
		}
	}
	if l.meta, err = mount.EROFS(l.kernel, l.image, header.MayHaveACL()); err != nil {
		return fmt.Errorf("mount the image: %w", err)
	}
	if err := l.prepareStage(); err != nil {
		return err
	}
	return l.attachStage(l.meta, "image")
}

func (l *linux) MountOverlay(source string, verity bool, transient bootcfg.TransientMode) error {
	objects, err := osfile.OpenPlain(l.store, "objects", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return problem(NoObjectStore, "open the object store: want a directory: %w", err)
	}
	defer objects.Close()
	o := mount.Overlay{
		Source:   source,
		Lower:    l.meta,
		Data:     []*os.File{objects},
		Verity:   verity,
		ReadOnly: transient != bootcfg.TransientOn,
	}
	if transient != bootcfg.TransientOff {
		// The upper layer belongs to this overlay rather than to a second one on
		// top: /etc may need another, and the kernel stacks no more than two.
		if o.Upper, o.Work, err = l.memoryLayer("root-memory", l.meta); err != nil {
			return err
		}
		defer o.Upper.Close()
		defer o.Work.Close()
	}
	if l.root, err = o.Mount(l.kernel); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	return l.attachStage(l.root, "root")
}

// MakeWritable is for a physical root that was mounted read-only, as "ro" or
// nothing on the command line has it: the state of /etc and /var is there.
func (l *linux) MakeWritable() error {
	readOnly, err := mount.IsReadOnly(l.physical)
	if err != nil || !readOnly {
		return err
	}
	l.writable = true
	if err := l.remount(mount.SetWritable, "rw"); err != nil {
		return problem(ReadOnlyRoot, "make the physical root writable, where /etc and /var keep their state: %w", err)
	}
	return nil
}

// remount changes both the mount and the file system.
func (l *linux) remount(set func(*os.File) error, flag string) error {
	if err := set(l.physical); err != nil {
		return err
	}
	c, err := mount.Pick(l.physical)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetFlag(flag); err != nil {
		return err
	}
	return c.Reconfigure()
}

func (l *linux) BindRoot(readOnly bool) error {
	at, err := osfile.OpenPlain(l.root, "sysroot", unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount the physical root at /sysroot: %w", err)
	}
	defer at.Close()
	bind, err := mount.Clone(l.physical)
	if err != nil {
		return err
	}
	defer bind.Close()
	if readOnly {
		if err := mount.SetReadOnly(bind); err != nil {
			return err
		}
	}
	return mount.Attach(bind, at, "")
}
