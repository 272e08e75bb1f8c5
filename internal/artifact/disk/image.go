package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/composefs-go/composefs/internal/osfile"
)

// An Image describes a disk. Sizes of 0 are computed from the content with room
// for a few updates.
type Image struct {
	Arch     string    // GOARCH of the machine, "amd64"; selects the type of the root partition
	Seed     string    // what UUIDs are derived from; the hex digest of the image is a good one
	Time     time.Time // of every file, in whole seconds; zero or before 1970-01-01T00:00:01Z is that second
	ESP      []Entry   // files of the EFI system partition; owners and modes are ignored, no symlinks
	Root     []Entry   // see Layout
	ESPSize  int64     // bytes, at least 34 MiB, or 260 where sectors have 4096 bytes
	RootSize int64     // bytes
	// SectorSize is the size of the disk's sectors in bytes, 512 or 4096; 0 means 512. A
	// disk with sectors of another size doesn't boot.
	SectorSize int
	DiskSize   int64 // bytes of the whole disk, what is left over staying free; 0: no more than needed
}

// A SpaceError is a directory with too little room for the disk image. It is a
// syscall.ENOSPC too, found before anything was written.
type SpaceError struct {
	Dir        string
	Want, Have int64 // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("not enough space for the disk image: want %d MiB free in %s, found %d MiB", e.Want/mib+1, e.Dir, e.Have/mib)
}

func (e *SpaceError) Is(target error) bool { return target == syscall.ENOSPC }

// A Progress is called during a long operation with how far it is, in bytes. It is called
// from one goroutine at a time.
type Progress func(done, total int64)

// Write makes the disk image as the file name, which appears only when it is complete and
// then replaces a regular file of that name. It needs the programs mke2fs, debugfs,
// mkfs.vfat, mmd, mcopy and mdir. progress may be nil.
func Write(ctx context.Context, name string, im Image, progress Progress) error {
	// Beside the result: there must be room for it there, and content from the same file
	// system can be shared instead of copied.
	scratch := filepath.Join(filepath.Dir(name), ".tmp-"+filepath.Base(name)+"-")
	return assemble(ctx, name, scratch, im, progress, func(w *writer) error {
		if st, err := os.Lstat(name); err == nil && !st.Mode().IsRegular() {
			return fmt.Errorf("want a regular file or a new name, found %s", st.Mode().Type())
		}
		return os.Rename(w.path, name)
	})
}

// assemble makes the image in a directory whose name begins with scratch, and calls finish
// to bring it to its place.
func assemble(ctx context.Context, name, scratch string, im Image, progress Progress, finish func(*writer) error) (err error) {
	w, err := newWriter(im, progress)
	if err != nil {
		return err
	}
	if err := findPrograms(); err != nil {
		return err
	}
	dir, err := osfile.NewScratchDir(filepath.Dir(scratch), filepath.Base(scratch))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	w.scratch = dir.Path
	w.path = filepath.Join(w.scratch, imageFile)
	for _, step := range []func(context.Context) error{w.allocate, w.writeGPT, w.writeESP, w.writeRoot, w.sync} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("write disk image %s: %w", name, err)
		}
	}
	if err := finish(w); err != nil {
		return fmt.Errorf("write disk image %s: %w", name, err)
	}
	return nil
}

// writer is an image on its way into a file.
type writer struct {
	Image
	plan     Plan
	scratch  string // directory for temporary files
	path     string // of the image under construction
	done     int64
	total    int64
	progress Progress
}

func newWriter(im Image, progress Progress) (*writer, error) {
	w := &writer{Image: im, progress: progress}
	if w.SectorSize == 0 {
		w.SectorSize = sectorSizes[0]
	}
	var err error
	if w.Root, err = complete(im.Root); err != nil {
		return nil, fmt.Errorf("root partition: %w", err)
	}
	if w.ESP, err = completeESP(im.ESP); err != nil {
		return nil, fmt.Errorf("EFI system partition: %w", err)
	}
	if w.plan, err = makePlan(w.Image); err != nil {
		return nil, err
	}
	for _, entries := range [][]Entry{w.Root, w.ESP} {
		for _, e := range entries {
			w.total += e.Size
		}
	}
	return w, nil
}

// report adds n bytes to what is done.
func (w *writer) report(n int64) {
	w.done += n
	if w.progress != nil {
		w.progress(w.done, w.total)
	}
}

// epoch returns the time of all files in seconds. The tools take 0 for "now".
func (w *writer) epoch() int64 { return max(w.Time.Unix(), 1) }

// allocate makes a file that is all hole, if there is enough space to fill it.
func (w *writer) allocate(context.Context) error {
	free, err := freeSpace(w.scratch)
	if err != nil {
		return err
	}
	if need := w.needed(); free < need {
		return &SpaceError{filepath.Dir(w.scratch), need, free}
	}
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(w.plan.Size), f.Close())
}

// sync puts the image on stable storage before it gets its name.
func (w *writer) sync(context.Context) error {
	f, err := os.OpenFile(w.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// uuid derives the UUID of something from the seed.
func uuid(seed, what string) string {
	sum := sha256.Sum256([]byte("composefs disk image\n" + what + "\n" + seed))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: made of what the maker likes
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
