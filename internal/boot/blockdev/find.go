package blockdev

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Finder looks for devices.
type Finder struct {
	// Sys is the directory /sys.
	Sys fs.FS
	// Open opens a device by its name below /dev.
	Open func(name string) (Device, error)
	// Loader is the PARTUUID of the partition that the boot loader came from; "" if
	// that isn't known. If several devices match, the one on its disk is taken.
	Loader string
	// Say is called with the device that is being waited for, and with the choice among
	// several devices.
	Say func(format string, args ...any)
	// Remind is the time after which Say is called again about a device that is still missing.
	Remind time.Duration
}

// A Device is an open block device, or a substitute for one in tests.
type Device interface {
	io.ReaderAt
	io.Closer
}

// System returns a Finder of the running system.
func System() Finder {
	return Finder{Sys: os.DirFS("/sys"), Open: func(name string) (Device, error) { return os.Open("/dev/" + name) }, Remind: 15 * time.Second}
}

// A disk is a whole device and its partitions, as /sys has them.
type disk struct {
	name  string
	block int64 // size of a logical block in bytes
	parts []part
}

type part struct {
	name, label string
	number      int
}

// A match is a device that fits, and the disk that it is on.
type match struct{ name, disk string }

// find returns the devices that s means.
func (f Finder) find(s Spec) (found []match) {
	if s.kind == byName {
		if d, err := f.Open(s.value); err == nil {
			d.Close()
			return []match{{s.value, ""}}
		}
		return nil
	}
	for _, d := range f.disks() {
		for _, name := range f.onDisk(d, s) {
			if !f.held(d, name) {
				found = append(found, match{name, d.name})
			}
		}
	}
	return found
}

// held reports whether another device is made of this one, as a volume is that was
// unlocked on it, or an array that it is a member of: that other device is meant.
func (f Finder) held(d disk, name string) bool {
	dir := path.Join("block", d.name)
	if name != d.name {
		dir = path.Join(dir, name)
	}
	holders, _ := fs.ReadDir(f.Sys, path.Join(dir, "holders"))
	return len(holders) > 0
}

func (f Finder) onDisk(d disk, s Spec) (names []string) {
	switch s.kind {
	case byUUID, byLabel:
		return f.bySuperblock(d, s)
	case byPartLabel:
		for _, p := range d.parts {
			if p.label == s.value {
				names = append(names, p.name)
			}
		}
		return names
	}
	return f.byTable(d, s)
}

// bySuperblock looks at each partition of a disk, and at a disk without any.
func (f Finder) bySuperblock(d disk, s Spec) []string {
	names := []string{d.name}
	if len(d.parts) > 0 {
		names = nil
		for _, p := range d.parts {
			names = append(names, p.name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		dev, err := f.Open(name)
		if err != nil {
			return true
		}
		defer dev.Close()
		sb, ok := ReadSuperblock(dev)
		return !ok || (s.kind == byUUID && sb.UUID != s.value) || (s.kind == byLabel && sb.Label != s.value)
	})
}

// byTable looks into a disk's partition table.
func (f Finder) byTable(d disk, s Spec) []string {
	if len(d.parts) == 0 {
		return nil
	}
	dev, err := f.Open(d.name)
	if err != nil {
		return nil
	}
	defer dev.Close()
	var found []string
	for _, e := range ReadPartitions(dev, d.block) {
		if (s.kind == byPartUUID && e.UUID != s.value) || (s.kind == byType && (e.Type != s.value || e.NoAuto)) {
			continue
		}
		for _, p := range d.parts {
			if p.number == e.Number {
				found = append(found, p.name)
			}
		}
	}
	return found
}

// disks lists the disks in /sys/block.
func (f Finder) disks() []disk {
	entries, _ := fs.ReadDir(f.Sys, "block")
	var all []disk
	for _, e := range entries {
		dir := path.Join("block", e.Name())
		block, err := strconv.ParseInt(f.line(path.Join(dir, "queue/logical_block_size")), 10, 64)
		if err != nil || block < 512 || block > 64<<10 {
			block = 512
		}
		d := disk{name: e.Name(), block: block}
		subs, _ := fs.ReadDir(f.Sys, dir)
		for _, s := range subs {
			if n, err := strconv.Atoi(f.line(path.Join(dir, s.Name(), "partition"))); err == nil {
				d.parts = append(d.parts, part{s.Name(), f.partLabel(path.Join(dir, s.Name(), "uevent")), n})
			}
		}
		all = append(all, d)
	}
	return all
}

// line returns the text of a small file without its newline; "" if it can't be read.
func (f Finder) line(name string) string {
	b, _ := fs.ReadFile(f.Sys, name)
	return strings.TrimSuffix(string(b), "\n")
}

func (f Finder) partLabel(uevent string) string {
	for line := range strings.Lines(f.line(uevent)) {
		if label, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "PARTNAME="); ok {
			return label
		}
	}
	return ""
}

// there lists the existing devices, for a message.
func (f Finder) there() string {
	var names []string
	for _, d := range f.disks() {
		for _, p := range d.parts {
			if p.label != "" {
				names = append(names, fmt.Sprintf("%s (PARTLABEL=%s)", p.name, p.label))
			} else {
				names = append(names, p.name)
			}
		}
		// A kernel has many empty loop and ram devices, which tell nobody anything.
		if len(d.parts) == 0 && !strings.HasPrefix(d.name, "loop") && !strings.HasPrefix(d.name, "ram") {
			names = append(names, d.name)
		}
	}
	if len(names) == 0 {
		return "no block devices"
	}
	return strings.Join(names, ", ")
}
