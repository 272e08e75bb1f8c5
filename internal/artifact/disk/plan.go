package disk

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

const (
	mib        = 1 << 20
	blockSize  = 4096
	inodeSize  = 256
	inodeRatio = 16384 // bytes of the partition for each inode, as mke2fs has it
	lineSize   = 64    // bytes of a directory entry besides its name, estimated
)

// A Partition is one of the two partitions of the disk.
type Partition struct {
	Name   string `json:"name"` // PARTLABEL
	Type   string `json:"type"`
	UUID   string `json:"uuid"`
	Offset int64  `json:"offset"` // bytes, a multiple of 1 MiB
	Size   int64  `json:"size"`   // bytes, a multiple of 1 MiB
}

// A Plan says where things will be on the disk.
type Plan struct {
	Size      int64 // of the whole disk in bytes
	UUID      string
	ESP, Root Partition

	inodes int64 // of the root file system
}

// espType is the type of an EFI system partition (UEFI 2.10, table 5.7).
const espType = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"

// rootTypes are the types of a root partition by GOARCH, from the Discoverable
// Partitions Specification of the UAPI group.
var rootTypes = map[string]string{
	"386":     "44479540-F297-41B2-9AF7-D131D5F0458A",
	"amd64":   "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
	"arm":     "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3",
	"arm64":   "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
	"loong64": "77055800-792C-4F94-B39A-98C91B762BB6",
	"ppc64le": "C31C45E6-3F39-412E-80FB-4809C4980599",
	"riscv64": "72EC70A6-CF74-40E6-BD49-4BDA08E8F224",
	"s390x":   "5EEAD9A9-FE09-4A1E-A1D7-520D00531306",
}

// ErrSize is the cause when the content doesn't fit into the given size.
var ErrSize = errors.New("not enough room")

// MakePlan returns where things will be on the disk, without writing anything.
func MakePlan(im Image) (Plan, error) {
	w, err := newWriter(im, nil)
	if err != nil {
		return Plan{}, err
	}
	return w.plan, nil
}

// makePlan is MakePlan for entries that are complete.
func makePlan(im Image) (Plan, error) {
	rootType, ok := rootTypes[im.Arch]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(rootTypes)), ", ")
		return Plan{}, fmt.Errorf("want an architecture with a type for root partitions (%s), found %q", known, im.Arch)
	}
	if !slices.Contains(sectorSizes, im.SectorSize) {
		return Plan{}, fmt.Errorf("%w: want %d or %d bytes, found %d", ErrSector, sectorSizes[0], sectorSizes[1], im.SectorSize)
	}
	esp, err := espSize(im)
	if err != nil {
		return Plan{}, err
	}
	root, err := rootSize(im)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{UUID: uuid(im.Seed, "disk"), inodes: max(root/inodeRatio, neededInodes(im.Root))}
	p.ESP = Partition{Name: "ESP", Type: espType, UUID: uuid(im.Seed, "esp"), Offset: mib, Size: esp}
	p.Root = Partition{Name: "root", Type: rootType, UUID: uuid(im.Seed, "root"), Offset: mib + esp, Size: root}
	p.Size = p.Root.Offset + root + mib // the backup GPT wants 33 sectors
	if im.DiskSize != 0 {
		if im.DiskSize < p.Size {
			return Plan{}, fmt.Errorf("%w: the partitions want a disk of %d MiB, found one of %d MiB", ErrSize, p.Size/mib, im.DiskSize/mib)
		}
		p.Size = im.DiskSize
	}
	return p, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// espSize leaves room for two more sets of boot files, since an update writes the new set
// before it removes the oldest.
func espSize(im Image) (int64, error) {
	const standard = 512 * mib
	// FAT32 has at least 65525 clusters, each of at least a sector.
	minimum := int64(34 * mib)
	if im.SectorSize == 4096 {
		minimum = 260 * mib
	}
	var content int64
	for _, e := range im.ESP {
		content += roundUp(e.Size, blockSize) + blockSize
	}
	need := content + content/32 + mib // two FATs of 4 bytes for a cluster of 512
	return choose("EFI system partition", im.ESPSize, max(need, minimum), max(3*need, standard), content)
}

// choose returns the size asked for, or else the standard one.
func choose(what string, asked, minimum, standard, content int64) (int64, error) {
	if asked == 0 {
		return roundUp(standard, mib), nil
	}
	if asked = asked / mib * mib; asked < minimum {
		return 0, fmt.Errorf("%w: the %s needs at least %d MiB for %d MiB of content, found a size of %d MiB",
			ErrSize, what, roundUp(minimum, mib)/mib, roundUp(content, mib)/mib, asked/mib)
	}
	return asked, nil
}

// rootSize leaves room for updates: half as much again, and 512 MiB.
func rootSize(im Image) (int64, error) {
	content := contentSize(im.Root)
	need := content + neededInodes(im.Root)*inodeSize
	need += need/64 + 32*mib // bitmaps, descriptors of groups, a small journal
	return choose("root partition", im.RootSize, need, need+need/2+512*mib, content)
}

// neededInodes returns the number of inodes, with some for files of /etc and /var.
func neededInodes(entries []Entry) int64 { return int64(len(entries))*5/4 + 1024 }

// contentSize returns how many bytes of blocks the entries take.
func contentSize(entries []Entry) (n int64) {
	directories := make(map[string]int64)
	for _, e := range entries {
		directories[path.Dir(e.Path)] += lineSize + int64(len(path.Base(e.Path)))
		switch {
		case e.Mode.IsDir() || e.Target != "":
			n += blockSize
		case !e.Verity:
			n += roundUp(e.Size, blockSize)
		default:
			n += roundUp(e.Size, blockSize) + treeSize(e.Digest.Algorithm(), e.Size) + blockSize
		}
	}
	for _, size := range directories {
		n += roundUp(size, blockSize)
	}
	return n
}

// needed returns how many bytes will be written, including temporary files.
func (w *writer) needed() int64 {
	temporary := int64(2 * batchBytes)
	for _, e := range w.Root {
		temporary = max(temporary, e.Size+batchBytes)
	}
	return contentSize(w.Root) + contentSize(w.ESP) + temporary + 8*mib
}

// treeSize returns the bytes of a file's Merkle tree.
func treeSize(alg verity.Algorithm, size int64) (n int64) {
	blocks := (size + blockSize - 1) / blockSize
	for perBlock := int64(blockSize / alg.Size()); blocks > 1; {
		blocks = (blocks + perBlock - 1) / perBlock
		n += blocks * blockSize
	}
	return n
}
