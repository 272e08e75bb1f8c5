package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/mount"
)

// volatileRoot is a link to the device of the root, for the parts of systemd that
// look for it and find an overlay instead (the generator that mounts the ESP).
const volatileRoot = "/run/systemd/volatile-root"

// markRoot makes the link unless there is one. A file system on no device, or on
// several, gets none.
func (l *linux) markRoot() error {
	major, minor, err := deviceOf(l.physical)
	if err != nil || major == 0 {
		return err
	}
	if err := os.MkdirAll(path.Dir(volatileRoot), 0o755); err != nil {
		return err
	}
	err = os.Symlink(fmt.Sprintf("/dev/block/%d:%d", major, minor), volatileRoot)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// deviceOf returns the number of the device that dir is on, 0 if there are none or
// several.
func deviceOf(dir *os.File) (major, minor uint32, err error) {
	var st unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, 0, err
	}
	if st.Dev_major != 0 {
		return st.Dev_major, st.Dev_minor, nil
	}
	// btrfs reports a number that belongs to no device, but mountinfo has the device.
	return mountedDevice(st.Mnt_id)
}

// mountedDevice returns the number of the only device that is mounted under the
// mount number, 0 if there is no such one.
func mountedDevice(id uint64) (major, minor uint32, err error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, 0, err
	}
	all, err := mount.ParseInfo(string(info))
	if err != nil {
		return 0, 0, err
	}
	number := strconv.FormatUint(id, 10)
	for _, m := range all {
		if m.ID != number {
			continue
		}
		var st unix.Stat_t
		err := unix.Stat(m.Source, &st)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || hasSiblings(st.Rdev) {
			return 0, 0, nil
		}
		return unix.Major(st.Rdev), unix.Minor(st.Rdev), nil
	}
	return 0, 0, nil
}

// hasSiblings reports whether the device is one of several of a btrfs.
func hasSiblings(rdev uint64) bool {
	// A link to the device's directory, whose name is the kernel's.
	device, _ := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(rdev), unix.Minor(rdev)))
	systems, _ := os.ReadDir("/sys/fs/btrfs")
	for _, s := range systems {
		all, _ := os.ReadDir("/sys/fs/btrfs/" + s.Name() + "/devices")
		if len(all) > 1 && slices.ContainsFunc(all, func(e os.DirEntry) bool { return e.Name() == path.Base(device) }) {
			return true
		}
	}
	return false
}

// procPath names an open file by its descriptor, for calls that take only paths.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
