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

// At returns what is mounted at dir: the topmost mount if there are several.
func At(dir *os.File) (Info, error) {
	st, err := statMount(dir)
	if err != nil {
		return Info{}, err
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return Info{}, fmt.Errorf("%s: %w", dir.Name(), ErrNotMounted)
	}
	return findMount(dir, st.Mnt_id)
}

// Of returns the mount that a file is in.
func Of(f *os.File) (Info, error) {
	st, err := statMount(f)
	if err != nil {
		return Info{}, err
	}
	return findMount(f, st.Mnt_id)
}

func statMount(f *os.File) (st unix.Statx_t, err error) {
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return st, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	return st, nil
}

// findMount looks the number of the mount that a file is in up in mountinfo.
func findMount(f *os.File, number uint64) (Info, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Info{}, err
	}
	all, err := ParseInfo(string(text))
	if err != nil {
		return Info{}, err
	}
	id := strconv.FormatUint(number, 10)
	for _, m := range all {
		if m.ID == id {
			return m, nil
		}
	}
	return Info{}, fmt.Errorf("%s: %w: /proc/self/mountinfo has no mount %s", f.Name(), ErrNotMounted, id)
}
