package disk

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"unicode/utf16"
)

// sectorSizes are the sizes in bytes of the sectors of disks: 512, whatever the disk has
// inside ("512e"), or 4096 ("4Kn"). Firmware and kernel look for the partition table in
// sector 1.
var sectorSizes = []int{512, 4096}

// ErrSector is the cause when no disk has sectors of the size, or the device has others.
var ErrSector = errors.New("unknown size of a sector")

// Constants of a GPT (UEFI 2.10, chapter 5).
const (
	gptRevision   = 1 << 16
	gptEntries    = 128
	gptEntrySize  = 128
	gptNameLength = 36 // UTF-16 units
	protective    = 0xee
)

// gptHeader is the header of a GUID partition table.
//
//	0           8          12     16    20         24     32        40
//	+-----------+----------+------+-----+----------+------+---------+
//	| signature | revision | size | crc | reserved | mine | another |
//	+-----------+----------+------+-----+----------+------+---------+
//	| first     | last     | disk[16]   | entries | count | size | crc |
//	+-----------+----------+------------+---------+-------+------+-----+
//	40          48         56           72        80      84     88
type gptHeader struct {
	Signature             [8]byte
	Revision, Size        uint32
	CRC, _                uint32
	Mine, Another         uint64 // sectors of this header and of the other one
	First, Last           uint64 // sectors that partitions may have
	Disk                  [16]byte
	Entries               uint64 // sector
	Count, EntrySize, Sum uint32
}

const gptHeaderSize = 92

// gptEntry is a partition in the table.
type gptEntry struct {
	Type, UUID  [16]byte
	First, Last uint64
	Attributes  uint64
	Name        [gptNameLength]uint16
}

// writeGPT writes the protective MBR, the partition table and its backup.
func (w *writer) writeGPT(context.Context) error {
	sector := int64(w.SectorSize)
	sectors := w.plan.Size / sector
	entries, err := w.gptEntries(sector)
	if err != nil {
		return err
	}
	table := int64(len(entries)) / sector
	h := gptHeader{
		Signature: [8]byte([]byte("EFI PART")), Revision: gptRevision, Size: gptHeaderSize,
		First: uint64(mib / sector), Last: uint64(sectors - table - 2),
		Count: gptEntries, EntrySize: gptEntrySize, Sum: crc32.ChecksumIEEE(entries),
	}
	if h.Disk, err = gptUUID(w.plan.UUID); err != nil {
		return err
	}
	first, last := h, h
	first.Mine, first.Another, first.Entries = 1, uint64(sectors-1), 2
	last.Mine, last.Another, last.Entries = uint64(sectors-1), 1, uint64(sectors-1-table)

	f, err := os.OpenFile(w.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		at    int64
		bytes []byte
	}{
		{0, protectiveMBR(sectors)},
		{sector, first.bytes()}, {2 * sector, entries},
		{int64(last.Entries) * sector, entries}, {int64(last.Mine) * sector, last.bytes()},
	} {
		if _, err := f.WriteAt(part.bytes, part.at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// protectiveMBR returns an MBR with one partition over the whole disk, for programs that
// don't know GPT.
func protectiveMBR(sectors int64) []byte {
	b := make([]byte, 512)
	entry := b[446:]
	copy(entry, []byte{0, 0, 2, 0, protective, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(entry[8:], 1)
	binary.LittleEndian.PutUint32(entry[12:], uint32(min(sectors-1, 1<<32-1)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

// gptEntries returns the array of all entries, most of them empty.
func (w *writer) gptEntries(sector int64) ([]byte, error) {
	var b []byte
	for _, p := range []Partition{w.plan.ESP, w.plan.Root} {
		e := gptEntry{First: uint64(p.Offset / sector), Last: uint64((p.Offset+p.Size)/sector - 1)}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		var err1, err2, err3 error
		e.Type, err1 = gptUUID(p.Type)
		e.UUID, err2 = gptUUID(p.UUID)
		b, err3 = binary.Append(b, binary.LittleEndian, e)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
	}
	return append(b, make([]byte, gptEntries*gptEntrySize-len(b))...), nil
}

func (h gptHeader) bytes() []byte {
	h.CRC = 0
	// A struct of numbers and arrays can always be encoded.
	b, _ := binary.Append(nil, binary.LittleEndian, h)
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
	return b
}

// gptUUID returns the form that a UUID has on disk, where its first three groups are
// little-endian.
func gptUUID(s string) (b [16]byte, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(b) {
		return b, fmt.Errorf("want a UUID, found %q", s)
	}
	for i, from := range []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		b[i] = raw[from]
	}
	return b, nil
}
