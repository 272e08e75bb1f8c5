package blockdev

import (
	"bytes"
	"fmt"
	"io"
)

// A Superblock describes the file system on a device.
type Superblock struct {
	Type  string // as for mount(8): "ext4", "xfs", "btrfs"
	UUID  string // lower case, with hyphens
	Label string
}

// layouts are the file systems that can hold objects with fs-verity, or that
// installers choose by default, by where their superblock keeps things.
var layouts = []struct {
	fstype            string
	at                int64 // of the superblock
	magicAt           int
	magic             string
	uuidAt            int
	labelAt, labelLen int
}{
	{"ext4", 1024, 56, "\x53\xef", 104, 120, 16},
	{"xfs", 0, 0, "XFSB", 32, 108, 12},
	{"btrfs", 65536, 64, "_BHRfS_M", 32, 299, 256},
}

// superblockSize is enough for the fields of every layout.
const superblockSize = 1024

// ReadSuperblock identifies the file system on the device; ok is false if it is an
// unknown one.
func ReadSuperblock(r io.ReaderAt) (s Superblock, ok bool) {
	b := make([]byte, superblockSize)
	for _, l := range layouts {
		if n, _ := r.ReadAt(b, l.at); n < len(b) {
			continue
		}
		if !bytes.HasPrefix(b[l.magicAt:], []byte(l.magic)) {
			continue
		}
		label, _, _ := bytes.Cut(b[l.labelAt:l.labelAt+l.labelLen], []byte{0})
		u := b[l.uuidAt : l.uuidAt+16]
		return Superblock{l.fstype, fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), string(label)}, true
	}
	return Superblock{}, false
}
