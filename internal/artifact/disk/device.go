package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors about a device that an image is to be written to.
var (
	ErrNotDevice = errors.New("not a whole disk")
	ErrHeld      = errors.New("the device is in use")
)

// A Device is a disk that is about to be overwritten. While it is open, neither the disk
// nor a partition of it can be mounted.
type Device struct {
	Name       string
	Size       int64 // bytes
	SectorSize int   // bytes of a logical block

	file *os.File
}

// OpenDevice opens a disk for writing. The error is ErrNotDevice if it isn't a whole disk,
// and ErrHeld if the disk or a partition of it is mounted, used for swapping or part of
// something else.
func OpenDevice(name string) (*Device, error) {
	look, err := os.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer look.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(look.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil, fmt.Errorf("%w: want a block device, found another kind of file: %s", ErrNotDevice, name)
	}
	whole := number{unix.Major(st.Rdev), unix.Minor(st.Rdev)}
	if whole.isPartition() {
		return nil, fmt.Errorf("%w: %s is a partition", ErrNotDevice, name)
	}
	if by := whole.heldBy(); by != "" {
		return nil, fmt.Errorf("%w: %s is %s", ErrHeld, name, by)
	}
	d := &Device{Name: name}
	// O_EXCL claims the device and all its partitions, as a mount does.
	if d.file, err = os.OpenFile(name, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0); errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: the kernel has %s or a partition of it mounted or claimed", ErrHeld, name)
	} else if err != nil {
		return nil, err
	}
	if err := d.measure(st.Rdev); err != nil {
		d.file.Close()
		return nil, err
	}
	return d, nil
}

// measure asks for the sizes of the device, which must be the one that was looked at.
func (d *Device) measure(rdev uint64) error {
	fd := int(d.file.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || st.Rdev != rdev {
		return fmt.Errorf("%w: %s has become another one: %w", ErrNotDevice, d.Name, err)
	}
	sector, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("ask %s for its block size: %w", d.Name, err)
	}
	d.SectorSize = sector
	if d.Size, err = d.file.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("ask %s for its size: %w", d.Name, err)
	}
	return nil
}

// Close closes the device.
func (d *Device) Close() error { return d.file.Close() }

// WriteDevice makes the disk image and copies it to a device. The image is made in a file
// below scratch before the device is touched. While it is being copied, and if that fails,
// the device has no partition table.
func WriteDevice(ctx context.Context, d *Device, scratch string, im Image, progress Progress) error {
	if im.SectorSize == 0 {
		im.SectorSize = d.SectorSize
	}
	if im.SectorSize != d.SectorSize {
		return fmt.Errorf("write %s: %w: want an image for sectors of %d bytes, found one for %d", d.Name, ErrSector, d.SectorSize, im.SectorSize)
	}
	im.DiskSize = d.Size
	return assemble(ctx, d.Name, filepath.Join(scratch, ".mkimage-disk-"), im, progress, func(w *writer) error {
		f, err := os.Open(w.path)
		if err != nil {
			return err
		}
		defer f.Close()
		return w.copyTo(ctx, d, f)
	})
}

// copyTo overwrites the device with the image in f. The first and the last MiB, which have
// the partition table, come last: half an image must not be taken for a disk.
func (w *writer) copyTo(ctx context.Context, d *Device, f *os.File) error {
	first, last := span{0, mib}, span{d.Size - mib, d.Size}
	for _, s := range []span{first, last} {
		if err := d.zero(s); err != nil {
			return err
		}
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	body := span{mib, w.plan.Root.Offset + w.plan.Root.Size}
	w.done, w.total = 0, body.end-body.from
	if err := w.copySpan(ctx, d, f, body); err != nil {
		return err
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	for _, s := range []span{last, first} {
		if err := w.copySpan(ctx, d, f, s); err != nil {
			return err
		}
	}
	return d.file.Sync()
}

// A span is a part of a disk.
type span struct{ from, end int64 }

// copySpan copies data, and writes zeros where the file has holes.
func (w *writer) copySpan(ctx context.Context, d *Device, f *os.File, s span) error {
	buf := make([]byte, 4*mib)
	for at := s.from; at < s.end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data := nextData(f, at, s.end)
		if data > at {
			// In pieces, so that it can be interrupted.
			data = min(data, at+256*mib)
			if err := d.zero(span{at, data}); err != nil {
				return err
			}
			w.report(data - at)
			at = data
			continue
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), s.end-at)], at)
		if n == 0 {
			return err
		}
		if _, err := d.file.WriteAt(buf[:n], at); err != nil {
			return err
		}
		w.report(int64(n))
		at += int64(n)
	}
	return nil
}

// nextData returns the offset of the first block with data at or after at, or end.
func nextData(f *os.File, at, end int64) int64 {
	data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return end
	}
	if err != nil {
		return at
	}
	return min(data/blockSize*blockSize, end)
}

// zero writes zeros in the way that is fastest on the device.
func (d *Device) zero(s span) error {
	area := [2]uint64{uint64(s.from), uint64(s.end - s.from)}
	if err := zeroOut(d.file, &area); err == nil {
		return nil
	}
	zeros := make([]byte, mib)
	for at := s.from; at < s.end; at += mib {
		if _, err := d.file.WriteAt(zeros[:min(mib, s.end-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// zeroOut is the ioctl BLKZEROOUT.
func zeroOut(f *os.File, area *[2]uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(area)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return errno
	}
	return nil
}

// Reread has the kernel read the partition table that was written.
func (d *Device) Reread() error {
	err := unix.IoctlSetInt(int(d.file.Fd()), unix.BLKRRPART, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil // for the kernel it is a device without partitions, as a loop device may be
	}
	return err
}
