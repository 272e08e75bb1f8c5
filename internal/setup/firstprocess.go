package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/blockdev"
	"github.com/composefs-go/composefs/internal/mount"
	"github.com/composefs-go/composefs/internal/osfile"
)

// modulesPath lists the kernel modules of our own initrd in the order in which
// they have to be loaded. A line has the form of modules.dep: an absolute path,
// a colon, and the paths of the modules that this one can't do without.
const modulesPath = "/usr/lib/composefs/modules"

// maxModuleList is the largest list that is read, in bytes.
const maxModuleList = 1 << 20

// rootTimeout is how long the root device is waited for unless rootwait=SECONDS
// says otherwise.
const rootTimeout = 30 * time.Second

// earlyMounts are what every process expects. They move to the new root.
var earlyMounts = []struct{ fstype, path string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"},
}

// PrepareMachine does what the first process has to do before anything else:
// mount /proc, /sys, /dev and /run and load the kernel modules. What is mounted
// already stays (devtmpfs, on kernels that mount it themselves).
func PrepareMachine() error {
	for _, m := range earlyMounts {
		if err := os.MkdirAll(m.path, 0o755); err != nil {
			return refuse(CodeMount, err)
		}
		flags := uintptr(unix.MS_NOSUID)
		data := ""
		switch m.fstype {
		case "tmpfs":
			flags, data = flags|unix.MS_NODEV|unix.MS_STRICTATIME, "mode=0755"
		case "proc", "sysfs":
			flags |= unix.MS_NODEV | unix.MS_NOEXEC
		}
		err := unix.Mount(m.fstype, m.path, m.fstype, flags, data)
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return refuse(CodeMount, fmt.Errorf("mount %s: %w", m.path, err))
		}
	}
	return loadModules()
}

func loadModules() error {
	f, err := os.Open(modulesPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refuse(CodeConfig, err)
	}
	defer f.Close()
	list, err := osfile.ReadAll(f, maxModuleList)
	if err != nil {
		return refuse(CodeConfig, err)
	}
	return refuse(CodeKernel, loadAll(string(list), loadModule))
}

// loadAll loads the modules of the list.
func loadAll(list string, load func(name string) error) error {
	absent := map[string]bool{} // whose hardware isn't there, and what builds upon them
	for line := range strings.Lines(list) {
		name, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "" {
			continue
		}
		if slices.ContainsFunc(strings.Fields(needs), func(n string) bool { return absent[n] }) {
			absent[name] = true // hv_storvsc without hv_vmbus
			continue
		}
		err := load(name)
		switch {
		case errors.Is(err, unix.EEXIST): // built in, or loaded by the kernel itself
		case errors.Is(err, unix.ENODEV):
			absent[name] = true
		case errors.Is(err, unix.ENOENT):
			return fmt.Errorf("load the kernel module %s: it, or a symbol that it uses, isn't there: was the initrd made for another kernel?", name)
		case err != nil:
			return fmt.Errorf("load the kernel module %s: %w: was the initrd made for another kernel?", name, err)
		}
	}
	return nil
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// MountRoot mounts what root= means at the path, the way that rootfstype=,
// rootflags=, ro and rw say.
func (l *linux) MountRoot(at string, args bootcfg.Cmdline) error {
	root, _ := args.Lookup("root")
	spec, err := blockdev.ParseSpec(root, runtime.GOARCH)
	if err != nil {
		return refuse(CodeConfig, err)
	}
	name, err := blockdev.System().Wait(spec, timeout(args))
	if err != nil {
		return err
	}
	device := "/dev/" + name
	fstype, err := rootType(device, args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	m, err := mountDevice(fstype, device, args)
	if err != nil {
		return fmt.Errorf("mount the physical root %s: %w", device, err)
	}
	defer m.Close()
	dir, err := osfile.OpenDir(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return mount.Attach(m, dir, "")
}

func timeout(args bootcfg.Cmdline) time.Duration {
	s, _ := args.Lookup("rootwait")
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		return time.Duration(n) * time.Second
	}
	return rootTimeout
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
		return "", fmt.Errorf("%s has no file system that we know (ext4, xfs, btrfs): name it with rootfstype=", device)
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
		if err := setOption(c, option); err != nil {
			return nil, fmt.Errorf("rootflags: %w", err)
		}
	}
	if err := c.SetFlag(readOnlyOrNot(args)); err != nil {
		return nil, err
	}
	return c.Mount(attr)
}

// setOption sets an option of the file system, "key" or "key=value".
func setOption(c *mount.Context, option string) error {
	if key, value, ok := strings.Cut(option, "="); ok {
		return c.SetString(key, value)
	}
	return c.SetFlag(option)
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

// SwitchRoot makes the new root "/" and executes init. The old root stays
// beneath, invisible; what is in it isn't deleted.
func (l *linux) SwitchRoot(newRoot string, inits, args []string) error {
	for _, m := range earlyMounts {
		if err := unix.Mount(m.path, path.Join(newRoot, m.path), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s to the new root (has the image such a directory?): %w", m.path, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new root to /: %w", err)
	}
	if err := errors.Join(unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	for _, init := range inits {
		err := unix.Exec(init, append([]string{init}, args...), os.Environ())
		if !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("execute %s: %w", init, err)
		}
	}
	return fmt.Errorf("execute init: none of %s is there", strings.Join(inits, ", "))
}

// stop ends a refused boot as the policy says. It returns for Emergency, and for
// the others if the kernel refuses.
func stop(action bootcfg.FailureAction) error {
	commands := map[bootcfg.FailureAction]int{bootcfg.Reboot: unix.LINUX_REBOOT_CMD_RESTART, bootcfg.PowerOff: unix.LINUX_REBOOT_CMD_POWER_OFF}
	command, ok := commands[action]
	if !ok {
		return nil
	}
	unix.Sync()
	return unix.Reboot(command)
}
