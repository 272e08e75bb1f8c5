package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/kmsg"
	"github.com/composefs-go/composefs/internal/osfile"
)

// volatileRoot is a link to the device of the root, for the parts of systemd that
// look for it and find an overlay instead (the generator that mounts the ESP).
const volatileRoot = "/run/systemd/volatile-root"

// Record writes boot.json. The mark for systemd is a help, never a reason to fail.
func (l *linux) Record(b *Boot) error {
	if err := l.markRoot(); err != nil {
		l.log.Printf(kmsg.Warning, "mark the root device for systemd: %v", err)
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("record the boot: %w", err)
	}
	if err := writeFile(recordPath, b.JSON(int64(usage.Maxrss))); err != nil {
		return fmt.Errorf("record the boot: %w", err)
	}
	return nil
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	dir, err := osfile.OpenDir(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return osfile.Replace(dir, filepath.Base(name), 0o644, func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	})
}

// markRoot makes the link unless there is one. A file system on no device, or on
// several, gets none.
func (l *linux) markRoot() error {
	var st unix.Statx_t
	err := unix.Statx(int(l.physical.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	if err != nil {
		return err
	}
	major, minor := st.Dev_major, st.Dev_minor
	if major == 0 {
		// btrfs has numbers of no device; but what was mounted is known.
		if major, minor, err = mountedDevice(st.Mnt_id); err != nil || major == 0 {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(volatileRoot), 0o755); err != nil {
		return err
	}
	err = os.Symlink(fmt.Sprintf("/dev/block/%d:%d", major, minor), volatileRoot)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// mountedDevice returns the number of the only device that is mounted under the
// mount number, 0 if there is no such one.
func mountedDevice(id uint64) (major, minor uint32, err error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, 0, err
	}
	number := strconv.FormatUint(id, 10)
	for line := range strings.Lines(string(info)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if len(fields) == 0 || fields[0] != number || len(source) < 2 {
			continue
		}
		var st unix.Stat_t
		err := unix.Stat(source[1], &st)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || hasSiblings(source[1]) {
			return 0, 0, nil
		}
		return unix.Major(st.Rdev), unix.Minor(st.Rdev), nil
	}
	return 0, 0, nil
}

// hasSiblings reports whether the device is one of several of a btrfs.
func hasSiblings(device string) bool {
	real, err := filepath.EvalSymlinks(device)
	if err != nil {
		return false
	}
	found, _ := filepath.Glob("/sys/fs/btrfs/*/devices/" + filepath.Base(real))
	for _, f := range found {
		if all, _ := os.ReadDir(filepath.Dir(f)); len(all) > 1 {
			return true
		}
	}
	return false
}

// procPath names an open file by its descriptor, for calls that take only paths.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
