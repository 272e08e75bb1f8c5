package setup

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// loaded are the directories of the root that the first programs of the booted system
// are told by what to run, apart from those that the policy keeps: programs and
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

// covers says whether a mount at a path of the root hides what the image decides. Others,
// of /home or of a /var that the policy keeps, are for whoever asks for them in /etc/fstab.
func covers(at, fstype string, policy bootcfg.Config) bool {
	top, _, _ := strings.Cut(at, "/")
	switch {
	case top == "", slices.Contains(loaded, top), strings.HasSuffix(top, "bin"), strings.HasPrefix(top, "lib"):
		return true
	case slices.Contains(apis, top):
		return !slices.Contains(apiTypes, fstype)
	case top == "etc" && !policy.Etc.Kept(), top == "var" && slices.Contains([]bootcfg.MountMode{bootcfg.MountVolatile, bootcfg.MountTransient}, policy.Var):
		return true
	}
	return policy.Extensions() == bootcfg.Forbid && slices.ContainsFunc(extensionDirs, func(dir string) bool { return strings.HasPrefix(at+"/", dir+"/") || strings.HasPrefix(dir+"/", at+"/") })
}
