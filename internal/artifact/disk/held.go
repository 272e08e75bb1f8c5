package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A number is the number that the kernel has for a device.
type number struct{ major, minor uint32 }

func (n number) sys() string { return fmt.Sprintf("/sys/dev/block/%d:%d", n.major, n.minor) }

func (n number) isPartition() bool {
	_, err := os.Stat(filepath.Join(n.sys(), "partition"))
	return err == nil
}

// heldBy says what uses the device or a partition of it, as far as that can be seen; ""
// if nothing does. The kernel knows most of this better, but it doesn't say by what a
// device is used, and doesn't refuse one that a loop device lies on.
func (n number) heldBy() string {
	all := n.withPartitions()
	if at := mountedAt(all); at != "" {
		return "mounted at " + at
	}
	for _, m := range all {
		if holders, _ := os.ReadDir(filepath.Join(m.sys(), "holders")); len(holders) > 0 {
			return "part of /dev/" + holders[0].Name()
		}
	}
	if same(all, column("/proc/swaps", 0)) != "" {
		return "used for swapping"
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, loop := range loops {
		if same(all, column(loop, 0)) != "" {
			return "what /dev/" + strings.Split(loop, "/")[3] + " lies on"
		}
	}
	return ""
}

// withPartitions returns the device and its partitions.
func (n number) withPartitions() []number {
	all := []number{n}
	found, _ := filepath.Glob(n.sys() + "/*/partition")
	for _, p := range found {
		var m number
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "dev"))
		if _, err := fmt.Sscanf(string(text), "%d:%d", &m.major, &m.minor); err == nil {
			all = append(all, m)
		}
	}
	return all
}

// mountedAt returns where one of the devices is mounted.
func mountedAt(all []number) string {
	const devices, places = 2, 4
	lines := column("/proc/self/mountinfo", devices)
	for i, place := range column("/proc/self/mountinfo", places) {
		var m number
		if _, err := fmt.Sscanf(lines[i], "%d:%d", &m.major, &m.minor); err == nil && slices.Contains(all, m) {
			return place
		}
	}
	return ""
}

// same returns the first of the files that is one of the devices.
func same(all []number, names []string) string {
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK &&
			slices.Contains(all, number{unix.Major(st.Rdev), unix.Minor(st.Rdev)}) {
			return name
		}
	}
	return ""
}

// column returns a field of each line of a file, "" where there is none.
func column(name string, field int) (out []string) {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := append(strings.Fields(lines.Text()), make([]string, field+1)...)
		out = append(out, fields[field])
	}
	return out
}
