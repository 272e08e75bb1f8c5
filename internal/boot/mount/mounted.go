package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Mounted{}, err
	}
	m, ok := findMount(string(info), st.Mnt_id)
	if !ok {
		return Mounted{}, fmt.Errorf("%s: %w: /proc/self/mountinfo has no mount %d", dir.Name(), ErrNotMounted, st.Mnt_id)
	}
	return m, nil
}

// findMount looks for a mount by its number, the first field of a line. After a
// field "-" come type and source. The kernel writes blanks in a field as \040.
func findMount(info string, id uint64) (Mounted, bool) {
	want := strconv.FormatUint(id, 10) + " "
	for line := range strings.Lines(info) {
		_, super, ok := strings.Cut(line, " - ")
		if f := strings.Fields(super); ok && strings.HasPrefix(line, want) && len(f) >= 2 {
			return Mounted{f[0], f[1]}, true
		}
	}
	return Mounted{}, false
}
