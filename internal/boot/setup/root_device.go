package setup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/osfile"
)

// rootTimeout is how long the root device is waited for unless rootwait says otherwise.
const rootTimeout = 30 * time.Second

// MountRoot mounts the device that root= means at the path, as rootfstype=, rootflags=,
// ro and rw say.
func (l *linux) MountRoot(at string, args bootcfg.Cmdline) error {
	root, _ := args.Lookup("root")
	spec, err := blockdev.ParseSpec(root, runtime.GOARCH)
	if err != nil {
		return refuse(CodeConfig, err)
	}
	if wait := delay(args); wait > 0 {
		l.log.Printf(kmsg.Warning, "waiting %v before looking for the root device (rootdelay=)", wait)
		time.Sleep(wait)
	}
	name, err := l.finder(l.loader()).Wait(spec, timeout(args))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	return mountAt(at, "/dev/"+name, args)
}

// PreferRoot is for a root that was mounted at the path by another program, through a link
// made by udev for instance, which takes any of several devices with the same label. If one
// of them is on the disk of the boot loader, that one is mounted in its place. If that
// doesn't decide, the mounted one stays, and the error is blockdev.ErrAmbiguous.
func (l *linux) PreferRoot(at string, args bootcfg.Cmdline) error {
	root, _ := args.Lookup("root")
	spec, err := blockdev.ParseSpec(root, runtime.GOARCH)
	loader := l.loader()
	if err != nil || root == "" || loader == "" {
		return nil // systemd finds a partition by its type on the loader's disk only
	}
	major, minor, err := deviceAt(at)
	if err != nil || major == 0 {
		return nil // on no device, or on several
	}
	// An unlocked volume or an array was already chosen by the program that assembled it,
	// and a partition with a copy of its UUID isn't the volume that the key has opened.
	slaves, err := os.ReadDir(fmt.Sprintf("%s/sys/dev/block/%d:%d/slaves", l.machine, major, minor))
	if len(slaves) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) { // a partition has no such directory
		return nil
	}
	name, err := l.finder(loader).Wait(spec, 0)
	switch {
	case errors.Is(err, blockdev.ErrAmbiguous):
		return err
	case err != nil:
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat("/dev/"+name, &st); err != nil || st.Rdev == unix.Mkdev(major, minor) {
		return err
	}
	if err := mount.Detach(at); err != nil {
		return err
	}
	return mountAt(at, "/dev/"+name, args)
}

// deviceAt returns the number of the only device that is mounted at the path, 0 if there
// is no such one.
func deviceAt(path string) (major, minor uint32, err error) {
	dir, err := osfile.OpenDir(path)
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	if at, err := isMountRoot(dir); err != nil || !at {
		return 0, 0, err
	}
	return deviceOf(dir)
}

func (l *linux) finder(loader string) blockdev.Finder {
	f := blockdev.System()
	f.Loader = loader
	f.Say = func(format string, args ...any) { l.log.Printf(kmsg.Warning, format, args...) }
	return f
}

// loaderPartition returns the PARTUUID of the partition that the boot loader came from, ""
// if it isn't known. No other process sees the mount with the firmware's variables.
func (l *linux) loaderPartition() string {
	if _, err := os.Stat(l.machine + "/sys/firmware/efi"); err != nil {
		return ""
	}
	m, err := mount.Memory("efivarfs")
	if err != nil {
		return "" // not in this kernel
	}
	defer m.Close()
	b, err := osfile.ReadFileIn(m, blockdev.LoaderVariable, blockdev.MaxLoaderVariable)
	if errors.Is(err, os.ErrNotExist) {
		return "" // another loader, or one from the network
	}
	id := ""
	if err == nil {
		id, err = blockdev.ParseLoaderVariable(b)
	}
	if err != nil {
		l.log.Printf(kmsg.Warning, "%v", err)
	}
	return id
}

// mountAt mounts a device at the path.
func mountAt(at, device string, args bootcfg.Cmdline) error {
	fstype, err := rootType(device, args)
	if err != nil {
		return err
	}
	m, err := mountDevice(fstype, device, args)
	if err != nil {
		return fmt.Errorf("mount the physical root %s: %w", device, err)
	}
	defer m.Close()
	return attachAt(m, at)
}

// timeout returns how long to wait for the root device. As in the kernel, rootwait without
// a number, or with an invalid one, means for ever.
func timeout(args bootcfg.Cmdline) time.Duration {
	wait := rootTimeout
	for _, a := range args.Args {
		if a.Key != "rootwait" {
			continue
		}
		wait = blockdev.Forever
		if n, err := strconv.ParseUint(a.Value, 0, 31); err == nil && n <= maxRootWait {
			wait = time.Duration(n) * time.Second
		}
	}
	return wait
}

// maxRootWait is the largest number of seconds that the kernel takes: it counts
// milliseconds in 31 bits.
const maxRootWait = (1<<31 - 1) / 1000

// delay is how long the kernel would wait before it looks for the root device at all.
func delay(args bootcfg.Cmdline) time.Duration {
	s, _ := args.Lookup("rootdelay")
	n, _ := strconv.ParseUint(s, 0, 31)
	return time.Duration(n) * time.Second
}

// rootType returns the type of the root file system.
func rootType(device string, args bootcfg.Cmdline) (string, error) {
	if t, ok := args.Lookup("rootfstype"); ok && t != "" {
		return t, nil
	}
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	s, ok := blockdev.ReadSuperblock(f)
	if !ok {
		return "", problem(UnknownFileSystem, "%s has no file system that we know (ext4, xfs, btrfs)", device)
	}
	return s.Type, nil
}

// attributes are the options of mount(8) that belong to the mount rather than to
// the file system.
var attributes = map[string]int{
	"noatime": unix.MOUNT_ATTR_NOATIME, "strictatime": unix.MOUNT_ATTR_STRICTATIME, "relatime": unix.MOUNT_ATTR_RELATIME,
	"nodiratime": unix.MOUNT_ATTR_NODIRATIME, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV,
	"noexec": unix.MOUNT_ATTR_NOEXEC, "defaults": 0,
}

// mountDevice mounts it nowhere yet. Like the kernel, read-only unless the last
// of "ro" and "rw" is "rw": a step makes it writable if there is state to keep.
func mountDevice(fstype, device string, args bootcfg.Cmdline) (*os.File, error) {
	c, err := mount.NewContext(fstype)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetString("source", device); err != nil {
		return nil, err
	}
	attr := 0
	flags, _ := args.Lookup("rootflags")
	for option := range strings.SplitSeq(flags, ",") {
		a, ok := attributes[option]
		attr |= a
		if ok || option == "" {
			continue
		}
		key, value, assigned := strings.Cut(option, "=")
		if assigned {
			err = c.SetString(key, value)
		} else {
			err = c.SetFlag(key)
		}
		if err != nil {
			return nil, fmt.Errorf("rootflags: %w", err)
		}
	}
	if err := c.SetFlag(readOnlyOrNot(args)); err != nil {
		return nil, err
	}
	return c.Mount(attr)
}

func readOnlyOrNot(args bootcfg.Cmdline) string {
	mode := "ro"
	for _, a := range args.Args {
		if !a.Assigned && (a.Key == "ro" || a.Key == "rw") {
			mode = a.Key
		}
	}
	return mode
}
