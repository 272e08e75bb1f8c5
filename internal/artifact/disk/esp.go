package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// fatEpoch is the earliest time in FAT, 1980-01-01.
const fatEpoch = 315532800

// writeESP makes the FAT32 file system and copies the files into it.
func (w *writer) writeESP(ctx context.Context) error {
	p := w.plan.ESP
	epoch := max(w.epoch(), fatEpoch)
	volumeID := strings.ReplaceAll(uuid(w.Seed, "fat"), "-", "")[:8]
	sector := int64(w.SectorSize)
	if err := w.run(ctx, epoch, nil, "mkfs.vfat", "--invariant", "-F", "32", "-S", fmt.Sprint(sector), "-s", fmt.Sprint(clusterSize(p.Size, sector)/sector),
		"-n", p.Name, "-i", volumeID, "--offset", fmt.Sprint(p.Offset/sector), imageFile, fmt.Sprint(p.Size/1024)); err != nil {
		return err
	}
	where := fmt.Sprintf("%s@@%d", imageFile, p.Offset)
	for _, e := range w.ESP {
		if err := w.copyToESP(ctx, epoch, where, e); err != nil {
			return fmt.Errorf("EFI system partition, %s: %w", e.Path, err)
		}
		w.report(e.Size)
	}
	return w.checkESP(ctx, epoch, where)
}

// clusterSize returns the size of a cluster in bytes, such that there are as many clusters
// as FAT32 must have. mkfs.vfat would go by the size of the whole disk.
func clusterSize(size, sector int64) int64 {
	switch {
	case size < 260*mib:
		return max(512, sector)
	case size < 8<<30:
		return 4096
	}
	return 32768
}

func (w *writer) copyToESP(ctx context.Context, epoch int64, where string, e Entry) error {
	if e.Mode.IsDir() {
		return w.run(ctx, epoch, nil, "mmd", "-i", where, "::/"+e.Path)
	}
	content, err := e.Open()
	if err != nil {
		return err
	}
	counted := &counter{r: io.LimitReader(content, e.Size+1)}
	err = w.run(ctx, epoch, counted, "mcopy", "-i", where, "-", "::/"+e.Path)
	if err = errors.Join(err, content.Close()); err == nil && counted.n != e.Size {
		err = sizeError(e.Size, counted.n)
	}
	return err
}

// A counter counts the bytes that are read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func sizeError(want, found int64) error {
	if found > want {
		return fmt.Errorf("%w: its content is longer than its size of %d bytes", ErrEntry, want)
	}
	return fmt.Errorf("%w: its content ends after %d of %d bytes", ErrEntry, found, want)
}
