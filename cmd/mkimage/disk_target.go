package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/osfile"
)

// A diskTarget is where a disk image goes: a file, or a device that is held.
type diskTarget struct {
	path   string
	device *disk.Device
}

// open opens the target, and returns an error if the image can't be written there.
func (o *diskOptions) open(cmd *cobra.Command) (diskTarget, error) {
	if o.writeDevice {
		device, err := disk.OpenDevice(o.output)
		if errors.Is(err, disk.ErrNotDevice) {
			err = usagef(cmd, "--write-device: %w; name a whole disk, as in /dev/sdX, or leave --write-device out", err)
		}
		return diskTarget{o.output, device}, refusedAt(inDevice, err)
	}
	path, err := outputPath(o.output)
	var special *osfile.SpecialError
	switch {
	case err == nil && (standardOutputs[o.output] || osfile.IsStream(path)):
		return diskTarget{}, usagef(cmd, "--output: a disk image can't be written to a pipe; name a file")
	case errors.As(err, &special) && special.Kind() == "a block device":
		return diskTarget{}, usagef(cmd, "--output: %s is a block device; to overwrite everything on it, say --write-device", o.output)
	case err == nil:
		return diskTarget{path: path}, checkOutputs(o.output)
	}
	return diskTarget{}, fmt.Errorf("write %s: %w", o.output, withoutPath(err, path))
}

func (t diskTarget) write(ctx context.Context, u *ui, im disk.Image) error {
	u.progress.start("writing " + t.path)
	if t.device == nil {
		return refusedAt(inOutput, disk.Write(ctx, t.path, im, u.progress.reached))
	}
	if err := disk.WriteDevice(ctx, t.device, temporaries(), im, u.progress.reached); err != nil {
		at := inDevice
		if inside(pathOf(err), temporaries()) || errors.As(err, new(*disk.SpaceError)) {
			at = inScratch
		}
		return refusedAt(at, err)
	}
	if err := t.device.Reread(); err != nil {
		u.remark("the kernel still has the old partitions of %s (%v); run: partprobe %s", t.path, err, t.path)
	}
	return nil
}

// size returns the size in bytes that the image must have, 0 if any will do.
func (t diskTarget) size() int64 {
	if t.device == nil {
		return 0
	}
	return t.device.Size
}

// sector returns the size in bytes of the image's sectors.
func (t diskTarget) sector(asked int) int {
	if asked == 0 && t.device != nil {
		return t.device.SectorSize
	}
	return asked
}

func (t diskTarget) close() {
	if t.device != nil {
		t.device.Close()
	}
}

// temporaries returns a directory for large temporary files.
func temporaries() string {
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	if st, err := os.Stat("/var/tmp"); err == nil && st.IsDir() {
		return "/var/tmp"
	}
	return os.TempDir()
}
