package blockdev

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A Partition is an entry of a partition table.
type Partition struct {
	Number int
	Type   string // GUID in lower case; "" in an MBR
	UUID   string // as in PARTUUID=, lower case
	// NoAuto is the flag of the Discoverable Partitions Specification that
	// keeps a partition from being found by its type.
	NoAuto bool
}

// Limits of a GPT; what is outside of them is not one.
const (
	maxEntries   = 1024
	maxEntrySize = 1024
)

// noAuto is bit 63 of a partition's attributes.
const noAuto = 1 << 63

// ReadPartitions reads the partition table of a disk whose logical blocks have
// the size: the first GPT, or else the four primary partitions of an MBR. A
// disk without either has none.
//
//	GPT header   signature[8] … 72: entries at 8, 80: count 4, 84: entry size 4
//	GPT entry    type[16] uuid[16] first 8 last 8 attributes 8 name[72]
//	MBR          440: disk number 4 … 446: 4 × 16 … 510: 55 aa
func ReadPartitions(r io.ReaderAt, block int64) []Partition {
	var h [92]byte
	if n, _ := r.ReadAt(h[:], block); n < len(h) || string(h[:8]) != "EFI PART" {
		return readMBR(r)
	}
	le := binary.LittleEndian
	start, count, size := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > maxEntries || size < 128 || size > maxEntrySize || start > 1<<40 {
		return nil
	}
	var all []Partition
	e := make([]byte, size)
	for i := range int64(count) {
		if n, _ := r.ReadAt(e, int64(start)*block+i*int64(size)); n < len(e) {
			break
		}
		p := Partition{Number: int(i) + 1, Type: guid(e), UUID: guid(e[16:]), NoAuto: le.Uint64(e[48:])&noAuto != 0}
		if p.Type != "00000000-0000-0000-0000-000000000000" {
			all = append(all, p)
		}
	}
	return all
}

// guid formats the first 16 bytes of b, of which the first three groups are
// little endian.
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

func readMBR(r io.ReaderAt) []Partition {
	var b [512]byte
	if n, _ := r.ReadAt(b[:], 0); n < len(b) || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	disk := binary.LittleEndian.Uint32(b[440:])
	var all []Partition
	for i := range 4 {
		if b[446+16*i+4] != 0 && disk != 0 {
			all = append(all, Partition{Number: i + 1, UUID: fmt.Sprintf("%08x-%02d", disk, i+1)})
		}
	}
	return all
}
