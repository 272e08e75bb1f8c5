package imagemount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/verity"
)

// A Lack is the reason why a file has no fs-verity.
type Lack uint8

const (
	NotEnabled      Lack = iota // it could have, but isn't enabled for the file
	FeatureOff                  // the file system could have it, but was made without
	KernelLacks                 // the kernel was built without it
	FileSystemLacks             // no file system of this type has it
)

// A NoVerityError is a file or directory for which the kernel can't vouch.
type NoVerityError struct {
	Path       string
	Lack       Lack
	FileSystem string // type of the one that it is on, "" if that isn't known
	Device     string // that the file system is on, "" if there is none
	Err        error  // a verity.ErrNotEnabled or verity.ErrUnsupported
}

func (e *NoVerityError) Error() string {
	on := "a file system"
	if e.FileSystem != "" {
		on = e.FileSystem
	}
	why := map[Lack]string{
		NotEnabled:      "it isn't enabled for this file",
		FeatureOff:      "it is on " + on + ", which was made without the feature",
		KernelLacks:     "this kernel was built without it (CONFIG_FS_VERITY)",
		FileSystemLacks: "it is on " + on + ", which doesn't support it",
	}
	return fmt.Sprintf("%s has no fs-verity: %s", e.Path, why[e.Lack])
}

func (e *NoVerityError) Unwrap() error { return e.Err }

// verityFeatures are where the kernel says that a file system of its has fs-verity.
// Btrfs has it whenever the kernel has, and needs no file for that.
var verityFeatures = map[int64]string{
	unix.EXT4_SUPER_MAGIC:  "/sys/fs/ext4/features/verity",
	unix.F2FS_SUPER_MAGIC:  "/sys/fs/f2fs/features/verity",
	unix.BTRFS_SUPER_MAGIC: "",
}

// explainNoVerity finds out why there is no fs-verity, if that is what an error of
// measuring f says; otherwise it returns nil.
func explainNoVerity(f *os.File, err error) *NoVerityError {
	e := &NoVerityError{Path: f.Name(), Err: err}
	if errors.Is(err, verity.ErrNotEnabled) {
		return e
	}
	if !errors.Is(err, verity.ErrUnsupported) {
		return nil
	}
	e.FileSystem, e.Device = fileSystemOf(f)
	var st unix.Statfs_t
	e.Lack = FileSystemLacks
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return e
	}
	if feature, known := verityFeatures[int64(st.Type)]; known {
		e.Lack = KernelLacks
		if _, err := os.Stat(feature); err == nil {
			e.Lack = FeatureOff
		}
	}
	return e
}

// fileSystemOf returns the type of the file system that a file is on, and its device.
func fileSystemOf(f *os.File) (fstype, device string) {
	var st unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st) != nil {
		return "", ""
	}
	text, _ := os.ReadFile("/proc/self/mountinfo")
	all, err := mount.ParseInfo(string(text))
	if err != nil {
		return "", ""
	}
	for _, m := range all {
		if m.ID == strconv.FormatUint(st.Mnt_id, 10) {
			if strings.HasPrefix(m.Source, "/") {
				device = m.Source
			}
			return m.Type, device
		}
	}
	return "", ""
}
