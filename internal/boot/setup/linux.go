package setup

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// stagePath is where the new root is put together. The tmpfs there is private,
// so that nothing of it is seen elsewhere and the result may be moved.
const stagePath = "/run/composefs/stage"

// linux is the real system. Its files are open from the step that opens them to
// the end of the program.
type linux struct {
	kernel   *kernel.Kernel
	log      *kmsg.Log
	machine  string        // where the TPM is looked for, but for tests ""
	digestOf measurer      // verity.Measure, but for tests
	loader   func() string // loaderPartition, but for tests
	physical *os.File      // root of the physical root
	store    *os.File      // its directory composefs
	image    *os.File      // the file that was measured
	stage    *os.File      // the tmpfs at stagePath, once it is there
	meta     *os.File      // root of the image's metadata
	root     *os.File      // the new root
	writable bool          // the physical root was made writable
}

// A measurer tells the fs-verity digest that a file has.
type measurer func(*os.File, verity.Algorithm) (verity.Digest, error)

// NewSystem returns the machine that this runs on.
func NewSystem(k *kernel.Kernel, log *kmsg.Log) System { return newLinux(k, log) }

func newLinux(k *kernel.Kernel, log *kmsg.Log) *linux {
	l := &linux{kernel: k, log: log, digestOf: verity.Measure}
	l.loader = l.loaderPartition
	return l
}

func (l *linux) OpenRoot(path string) (err error) {
	if l.physical, err = osfile.OpenDir(path); err != nil {
		return fmt.Errorf("open the physical root: %w", err)
	}
	l.store, err = osfile.OpenPlain(l.physical, "composefs", unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return refuse(CodeNotFound, problem(NoRepository, "image not found: the file system at %s has no directory composefs", path))
	}
	if err != nil {
		return fmt.Errorf("open the repository: %w", err)
	}
	return nil
}

// prepareStage mounts the tmpfs on which the new root is put together.
func (l *linux) prepareStage() error {
	if err := os.MkdirAll(stagePath, 0o700); err != nil {
		return fmt.Errorf("prepare the stage: %w", err)
	}
	at, err := osfile.OpenDir(stagePath)
	if err != nil {
		return err
	}
	defer at.Close()
	stage, err := mount.Memory("tmpfs", "mode=0700")
	if err != nil {
		return err
	}
	if err := mount.Attach(stage, at, ""); err != nil {
		return err
	}
	l.stage = stage
	return mount.SetPrivate(stage)
}

// attachStage mounts m at a new directory of the stage. Kernels before 6.15 take
// only a tree that is mounted somewhere as a layer or as a place to mount on.
func (l *linux) attachStage(m *os.File, name string) error {
	if err := unix.Mkdirat(int(l.stage.Fd()), name, 0o700); err != nil {
		return fmt.Errorf("prepare the stage: %s: %w", name, err)
	}
	return mount.Attach(m, l.stage, name)
}

// HandOver replaces the physical root at path by the new one. It lives on at
// /sysroot of the new root, without its old mount, which nobody could reach and
// which would keep the device busy at shutdown.
func (l *linux) HandOver(path string) error {
	atRoot, err := isMountRoot(l.physical)
	if err != nil {
		return err
	}
	if !atRoot {
		return l.handOver(path)
	}
	old, err := mount.Clone(l.physical)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := mount.Detach(path); err != nil {
		return err
	}
	if err := l.handOver(path); err != nil {
		return errors.Join(err, attachAt(old, path))
	}
	return nil
}

func (l *linux) handOver(path string) error {
	if err := attachAt(l.root, path); err != nil {
		return err
	}
	if err := markVerified(path); err != nil {
		return errors.Join(err, mount.Detach(path))
	}
	l.writable = false // as it is meant to be
	l.Abandon()
	return nil
}

func attachAt(m *os.File, path string) error {
	at, err := osfile.OpenDir(path)
	if err != nil {
		return err
	}
	defer at.Close()
	return mount.Attach(m, at, "")
}

// Abandon takes the stage away with everything that is still mounted on it, and
// restores the physical root.
func (l *linux) Abandon() {
	if l.stage != nil {
		if err := mount.Detach(stagePath); err != nil {
			l.log.Printf(kmsg.Warning, "take the stage away: %v", err)
		}
		l.stage = nil
		_ = os.Remove(stagePath)
	}
	if l.writable {
		if err := l.remount(mount.SetReadOnly, "ro"); err != nil {
			l.log.Printf(kmsg.Warning, "make the physical root read-only again: %v", err)
		}
		l.writable = false
	}
	for _, f := range []io.Closer{l.image, l.meta, l.store, l.physical} {
		// Closing releases devices. A nil file returns an error, which means nothing.
		_ = f.Close()
	}
}

// isMountRoot reports whether dir is where something is mounted.
func isMountRoot(dir *os.File) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, 0, &st)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", dir.Name(), err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}
