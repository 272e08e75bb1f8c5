package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// verityFeatures are where the kernel says that a file system of its has fs-verity.
// Btrfs has it whenever the kernel has.
var verityFeatures = map[int64]struct{ name, file, command string }{
	unix.EXT4_SUPER_MAGIC: {"ext4", "/sys/fs/ext4/features/verity", "tune2fs -O verity"},
	unix.F2FS_SUPER_MAGIC: {"f2fs", "/sys/fs/f2fs/features/verity", "mkfs.f2fs -O verity, which makes it anew, on"},
}

// howToVerity says what must happen for a file to have fs-verity: to itself, to the
// file system or to the kernel.
func howToVerity(f *os.File, unsupported bool) string {
	if !unsupported {
		return fmt.Sprintf("turn it on with `fsverity enable %s`, or put the image into a repository there with `mkimage build --repo`", f.Name())
	}
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return "use ext4, btrfs or f2fs"
	}
	feature, known := verityFeatures[int64(st.Type)]
	switch {
	case int64(st.Type) == unix.BTRFS_SUPER_MAGIC:
		return "this kernel is built without it (CONFIG_FS_VERITY): boot another one"
	case !known:
		return fmt.Sprintf("%s has none: use ext4, btrfs or f2fs", fileSystemName(f))
	}
	if _, err := os.Stat(feature.file); err != nil {
		return "this kernel is built without it (CONFIG_FS_VERITY): boot another one"
	}
	return fmt.Sprintf("the %s there has it off: run `%s %s`, and build into a new repository: files that are there don't get it", feature.name, feature.command, deviceOf(f))
}

// mountOf returns the line of mountinfo for the file system of a file, in fields.
func mountOf(f *os.File) (fields []string) {
	var st unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st) != nil {
		return nil
	}
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, fmt.Sprint(st.Mnt_id, " ")) {
			_, after, _ := strings.Cut(line, " - ")
			return strings.Fields(after)
		}
	}
	return nil
}

func fileSystemName(f *os.File) string {
	if fields := mountOf(f); len(fields) > 0 {
		return fields[0]
	}
	return "this file system"
}

func deviceOf(f *os.File) string {
	if fields := mountOf(f); len(fields) > 1 && strings.HasPrefix(fields[1], "/") {
		return fields[1]
	}
	return "DEVICE"
}
