package disk

import (
	"context"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/internal/disktool"
)

// programs are what the work is left to.
var programs = []string{"mke2fs", "debugfs", "mkfs.vfat", "mmd", "mcopy", "mdir"}

// Files in the directory in which the programs run.
const (
	imageFile  = "disk"
	mke2fsFile = "mke2fs.conf"
)

// findPrograms returns an error if a program isn't installed.
func findPrograms() error {
	for _, p := range programs {
		if _, err := disktool.Find(p); err != nil {
			return err
		}
	}
	return nil
}

// tools are the programs in the scratch directory, for which it is always the same time.
func (w *writer) tools(epoch int64) disktool.Dir {
	return disktool.Dir{Path: w.scratch, Env: []string{
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", epoch), "MKE2FS_CONFIG=" + mke2fsFile,
	}}
}

// maxPrinted is what a program may print, in bytes: a name for each file of the EFI system
// partition is the most.
const maxPrinted = 64 << 20

// run runs a program to its end.
func (w *writer) run(ctx context.Context, epoch int64, stdin io.Reader, name string, args ...string) error {
	_, _, err := w.tools(epoch).Run(ctx, maxPrinted, stdin, name, args...)
	return err
}
