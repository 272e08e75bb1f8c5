package directory

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A MountRule says what to do with mounts inside the directory, of a file system or of a
// part of one.
type MountRule uint8

const (
	RefuseMounts  MountRule = iota // a mount is an error
	EmptyMounts                    // a mount on a directory becomes an empty directory, 0755, 0:0, time 0; one on a file is an error
	IncludeMounts                  // mounts are read like directories and files
)

// A MountError says where there is an unexpected mount.
type MountError struct {
	Path string
	Type string // of the file system, "" if unknown
}

func (e *MountError) Error() string {
	if e.Type == "" {
		return "something else is mounted at " + e.Path
	}
	return fmt.Sprintf("another file system (%s) is mounted at %s", e.Type, e.Path)
}

// mounted reports whether something is mounted at the directory. Since 5.8 the kernel says
// so, even if it is a part of the same file system. Older kernels only show a different
// device number, which subvolumes of Btrfs have too.
func mounted(dir *handle) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(dir.fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return false, err
	}
	var here, above unix.Stat_t
	if err := errors.Join(unix.Fstat(dir.fd, &here), unix.Fstatat(dir.fd, "..", &above, 0)); err != nil {
		return false, err
	}
	return here.Dev != above.Dev, nil
}

// checkMount refuses a file, other than a directory, over which something is mounted. It asks
// the kernel only if the device number of the file isn't the directory's: then the file is a
// mount, or the file system has several device numbers, as overlayfs does.
func (w *worker) checkMount(l *leaf, st *unix.Stat_t) error {
	if w.opts.Mounts == IncludeMounts || st.Dev == l.dir.dev {
		return nil
	}
	var x unix.Statx_t
	err := unix.Statx(l.dir.fd, l.name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &x)
	if err == nil && x.Attributes&x.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return &MountError{Path: l.path()}
	}
	return nil
}

// mountError describes the mount at fd.
func mountError(fd int, path string) *MountError {
	e := &MountError{Path: path}
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) == nil {
		e.Type = fileSystems[uint32(st.Type)]
	}
	return e
}

// fileSystems are the names of file systems that are often mounted in a root file system.
var fileSystems = map[uint32]string{
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.TMPFS_MAGIC: "tmpfs", unix.DEVPTS_SUPER_MAGIC: "devpts",
	unix.CGROUP_SUPER_MAGIC: "cgroup", unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.EFIVARFS_MAGIC: "efivarfs", unix.SECURITYFS_MAGIC: "securityfs",
	unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs", unix.BPF_FS_MAGIC: "bpf", unix.MSDOS_SUPER_MAGIC: "vfat",
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.EROFS_SUPER_MAGIC_V1: "erofs", unix.SQUASHFS_MAGIC: "squashfs", unix.NFS_SUPER_MAGIC: "nfs", unix.FUSE_SUPER_MAGIC: "fuse",
}
