package imagemount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/verity"
)

// A Lack is the reason why a file has no fs-verity.
type Lack uint8

// The reasons, of which the first is about the file alone.
const (
	NotEnabled      Lack = iota // it could have, but isn't enabled for the file
	FeatureOff                  // the file system could have it, but was made without
	KernelLacks                 // the kernel was built without it
	FileSystemLacks             // no file system of this type has it
)

// A NoVerityError is a file that has no fs-verity, or a directory in which no file can
// have it.
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

// verityFeatures are the files by which the kernel says that its driver of a file system
// has fs-verity. There is none for btrfs, which has it whenever the kernel has.
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
	if m, err := mount.Of(f); err == nil {
		e.FileSystem = m.Type
		if strings.HasPrefix(m.Source, "/") {
			e.Device = m.Source
		}
	}
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
