package bootcfg

import (
	"slices"
	"strings"
)

// loaded are the directories of the root that the first programs of the booted system
// are told by what to run, apart from directories that the policy keeps: programs and
// libraries (ld.so), units and generators (systemd), rules (udev), modules and firmware
// (kernel, kmod), passwords and their modules (PAM). A top directory stands for all in
// it; /opt is one because extensions, and many an ld.so.conf.d, have libraries there.
var loaded = []string{"usr", "opt", "nix", "gnu"}

// apis are where systemd and switch_root(8) put the file systems of the kernel, unless
// something is mounted there already: that stays, and with it units in /run, a command line
// in /proc, credentials of the firmware in /sys.
var apis = []string{"dev", "proc", "run", "sys"}

// apiTypes are the file systems that a hook of dracut may have mounted there, for
// load_policy(8) for instance. Nothing in them comes from a disk: what a tmpfs has was
// put there by a program of the initramfs.
var apiTypes = []string{"cgroup2", "devpts", "devtmpfs", "mqueue", "proc", "securityfs", "selinuxfs", "sysfs", "tmpfs"}

// Covers reports whether a mount of the file system type at the path, relative to the
// root, hides something that the image determines. Other mounts, such as over /home or
// over a /var that the policy keeps, are up to /etc/fstab.
func (c Config) Covers(at, fstype string) bool {
	top, _, _ := strings.Cut(at, "/")
	switch {
	case top == "", slices.Contains(loaded, top), strings.HasSuffix(top, "bin"), strings.HasPrefix(top, "lib"):
		return true
	case slices.Contains(apis, top):
		return !slices.Contains(apiTypes, fstype)
	case top == "etc" && !c.Etc.Kept(), top == "var" && (c.Var == MountVolatile || c.Var == MountTransient):
		return true
	}
	return c.Extensions() == Forbid && slices.ContainsFunc(ExtensionDirs(), func(dir string) bool { return strings.HasPrefix(at+"/", dir+"/") || strings.HasPrefix(dir+"/", at+"/") })
}
