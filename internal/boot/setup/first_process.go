package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
)

// modulesPath lists the kernel modules of our own initrd in the order in which
// they have to be loaded. A line has the form of modules.dep: an absolute path,
// a colon, and the paths of the modules that this one can't do without.
const modulesPath = "/usr/lib/composefs/modules"

// maxModuleList is the largest list that is read, in bytes.
const maxModuleList = 1 << 20

// earlyMounts are what every process expects. They move to the new root.
var earlyMounts = []struct{ fstype, path string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"},
}

// PrepareMachine does what the first process has to do before anything else:
// mount /proc, /sys, /dev and /run and load the kernel modules. A mount that exists
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
	absent := map[string]bool{} // modules whose hardware isn't there, and those that need them
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
			return problem(ForeignModule, "load the kernel module %s: it, or a symbol that it uses, isn't there", name)
		case err != nil:
			return problem(ForeignModule, "load the kernel module %s: %w", name, err)
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

// SwitchRoot makes the new root "/" and executes init. The old root stays
// beneath, invisible; its contents aren't deleted.
func (l *linux) SwitchRoot(newRoot string, inits, args []string) error {
	for _, m := range earlyMounts {
		if err := unix.Mount(m.path, path.Join(newRoot, m.path), "", unix.MS_MOVE, ""); err != nil {
			return problem(NoEarlyMount, "move %s to the new root: %w", m.path, err)
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
	return problem(NoInit, "execute init: none of %s is there", strings.Join(inits, ", "))
}
