package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// loop returns a loop device of so many bytes, all of them 0xff.
func loop(t *testing.T, size int64) string {
	t.Helper()
	testutil.RequireRoot(t)
	file := filepath.Join(t.TempDir(), "backing")
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xff}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return attach(t, file)
}

func attach(t *testing.T, file string, options ...string) string {
	t.Helper()
	name := strings.TrimSpace(run(t, "losetup", append(options, "--find", "--show", file)...))
	t.Cleanup(func() { exec.Command("losetup", "-d", name).Run() })
	return name
}

// head returns the first n bytes.
func head(t *testing.T, name string, n int64) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, n))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const slack = 8 << 20

func TestADeviceGetsWhatTheFileWouldHave(t *testing.T) {
	im := sample(t, verity.SHA256)
	im.ESPSize, im.RootSize = 34<<20, 100<<20
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := disk.Write(t.Context(), file, im, nil); err != nil {
		t.Fatal(err)
	}
	plan, err := disk.MakePlan(im)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{plan.Size, plan.Size + slack} {
		name := loop(t, size)
		d, err := disk.OpenDevice(name)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		scratch := t.TempDir()
		if err := disk.WriteDevice(t.Context(), d, scratch, im, nil); err != nil {
			t.Fatal(err)
		}
		if err := d.Reread(); err != nil {
			t.Error(err)
		}
		d.Close()
		// All but the tables, which name the end of the disk.
		end := plan.Root.Offset + plan.Root.Size
		want, got := head(t, file, end), head(t, name, end)
		if !bytes.Equal(want[1<<20:], got[1<<20:]) {
			t.Error("the partitions differ from those in the file")
		}
		if size == plan.Size && !bytes.Equal(head(t, file, size), head(t, name, size)) {
			t.Error("a device of the same size differs from the file")
		}
		if out := run(t, "sgdisk", "-v", name); !strings.Contains(out, "No problems found") {
			t.Error(out) // the backup is where it belongs, too
		}
		if left, _ := os.ReadDir(scratch); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestADeviceThatIsTooSmallStaysAsItIs(t *testing.T) {
	im := sample(t, verity.SHA256)
	im.ESPSize, im.RootSize = 34<<20, 100<<20
	const size = 100 << 20
	name := loop(t, size)
	d, err := disk.OpenDevice(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = disk.WriteDevice(t.Context(), d, t.TempDir(), im, nil)
	if !errors.Is(err, disk.ErrSize) || !strings.Contains(err.Error(), "want a disk of 136 MiB, found one of 100 MiB") {
		t.Errorf("found %v", err)
	}
	if !bytes.Equal(head(t, name, size), bytes.Repeat([]byte{0xff}, size)) {
		t.Error("the device was written to")
	}
}

// A machine must not boot half a disk, nor the old disk with half its content.
func TestAnInterruptedDeviceHasNoPartitionTable(t *testing.T) {
	im := sample(t, verity.SHA256)
	im.ESPSize, im.RootSize = 34<<20, 100<<20
	name := loop(t, 136<<20)
	d, err := disk.OpenDevice(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, stop := context.WithCancel(t.Context())
	var image int64 // bytes of making the image, after which it is copied
	err = disk.WriteDevice(ctx, d, t.TempDir(), im, func(_, total int64) {
		if image == 0 {
			image = total
		} else if total != image {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v", err)
	}
	if !bytes.Equal(head(t, name, 1<<20), make([]byte, 1<<20)) {
		t.Error("there is something where the partition table is")
	}
}

func TestADeviceInUseIsRefused(t *testing.T) {
	filesystem := loop(t, 16<<20)
	run(t, "mke2fs", "-q", "-t", "ext4", filesystem)
	mount := t.TempDir()
	if err := unix.Mount(filesystem, mount, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	lower := loop(t, 16<<20)
	attach(t, lower)
	swap := loop(t, 16<<20)
	run(t, "mkswap", swap)
	swapped := exec.Command("swapon", swap).Run() == nil
	t.Cleanup(func() { exec.Command("swapoff", swap).Run() })
	for _, c := range []struct {
		name, want string
		here       bool
	}{
		{filesystem, "is mounted at " + mount, true},
		{lower, "lies on", true},
		{swap, "used for swapping", swapped},
	} {
		if !c.here {
			t.Logf("the kernel has none: %q", c.want)
			continue
		}
		d, err := disk.OpenDevice(c.name)
		if err == nil {
			d.Close()
		}
		if !errors.Is(err, disk.ErrHeld) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, found %v", c.want, err)
		}
	}
}

func TestOnlyAWholeDiskIsADevice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, t.TempDir(), os.DevNull} {
		if _, err := disk.OpenDevice(name); !errors.Is(err, disk.ErrNotDevice) {
			t.Errorf("%s: found %v", name, err)
		}
	}
}

// A device with sectors of 4096 bytes gets an image for those, and no other.
func TestADeviceSaysHowLargeItsSectorsAre(t *testing.T) {
	testutil.RequireRoot(t)
	requireTools(t)
	im := sample(t, verity.SHA256)
	im.ESPSize, im.RootSize = 260<<20, 100<<20
	file := filepath.Join(t.TempDir(), "backing")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 400<<20); err != nil {
		t.Fatal(err)
	}
	d, err := disk.OpenDevice(attach(t, file, "--sector-size", "4096"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	wrong := im
	wrong.SectorSize = 512
	if err := disk.WriteDevice(t.Context(), d, t.TempDir(), wrong, nil); !errors.Is(err, disk.ErrSector) || !strings.Contains(err.Error(), "want an image for sectors of 4096 bytes, found one for 512") {
		t.Errorf("an image for sectors of 512 bytes: %v", err)
	}
	if err := disk.WriteDevice(t.Context(), d, t.TempDir(), im, nil); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "sfdisk", "--dump", d.Name); !strings.Contains(out, "sector-size: 4096") || !strings.Contains(out, `name="root"`) {
		t.Errorf("sfdisk says %s", out)
	}
}
