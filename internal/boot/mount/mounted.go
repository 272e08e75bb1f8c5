package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotMounted is the cause when nothing is mounted at a directory.
var ErrNotMounted = errors.New("nothing is mounted there")

// A Mounted is what the kernel says of a mount.
type Mounted struct {
	Type   string // of the file system, "overlay"
	Source string // "composefs:<hex>"
}

// At returns what is mounted at dir, the topmost if there are several.
func At(dir *os.File) (Mounted, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return Mounted{}, fmt.Errorf("look at %s: %w", dir.Name(), err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return Mounted{}, fmt.Errorf("%s: %w", dir.Name(), ErrNotMounted)
	}
	m, err := Of(dir)
	return Mounted{m.Type, m.Source}, err
}

// Of returns the mount that a file is in.
func Of(f *os.File) (Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return Info{}, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Info{}, err
	}
	all, err := ParseInfo(string(text))
	if err != nil {
		return Info{}, err
	}
	id := strconv.FormatUint(st.Mnt_id, 10)
	for _, m := range all {
		if m.ID == id {
			return m, nil
		}
	}
	return Info{}, fmt.Errorf("%s: %w: /proc/self/mountinfo has no mount %s", f.Name(), ErrNotMounted, id)
}
