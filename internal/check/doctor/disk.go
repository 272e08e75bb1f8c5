package doctor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/disktool"
)

// A Disk is a disk or its image, read without privileges and without mounting.
type Disk struct {
	tools      disktool.Dir // for the programs that read it, with a link "disk" to it
	Size       int64        // in bytes
	TableSize  int64        // of the disk that the partition table was made for, 0 if it doesn't say
	Damaged    bool         // of a GPT only the entry is left that protects it from older programs
	Partitions []Partition
}

// A Partition is a part of a Disk.
type Partition struct {
	blockdev.Partition
	Name   string // in the partition table
	Offset int64  // in bytes
	FS     blockdev.Superblock
}

// The partition types of an EFI system partition.
const (
	espType    = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	espTypeMBR = "ef"
)

// protective is the type of the entry of the old kind that covers a disk with a GPT.
const protective = "ee"

// OpenDisk reads the partition table, with sfdisk but for large sectors, and tells the file systems.
func OpenDisk(ctx context.Context, name string) (*Disk, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "composefs-doctor-")
	if err != nil {
		return nil, err
	}
	// The disk may be damaged: mtools reads what it can.
	d := &Disk{tools: disktool.Dir{Path: dir, Env: []string{"MTOOLS_SKIP_CHECK=1"}}}
	err = os.Symlink(path, filepath.Join(dir, "disk"))
	if err == nil {
		err = d.read(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the partitions of %s: %w", name, err), d.Close())
	}
	return d, nil
}

// Close removes the scratch directory.
func (d *Disk) Close() error { return os.RemoveAll(d.tools.Path) }

func (d *Disk) read(ctx context.Context) error {
	f, err := os.Open(filepath.Join(d.tools.Path, "disk"))
	if err != nil {
		return err
	}
	defer f.Close()
	if d.Size, err = f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	for _, sector := range []int64{512, largeSector} {
		d.TableSize = max(d.TableSize, sizeInGPT(f, sector))
	}
	if d.TableSize > d.Size {
		return nil // what is read of it now would be misleading
	}
	if hasGPT(f, largeSector) && !hasGPT(f, 512) {
		d.readLarge(f)
		return nil
	}
	out, _, err := d.tools.Run(ctx, 1<<20, nil, "sfdisk", "--json", "disk")
	if err != nil {
		return err
	}
	var table struct {
		PartitionTable struct {
			Label, ID  string
			SectorSize int64
			Partitions []struct {
				Node, Type, UUID, Name, Attrs string
				Start, Size                   int64
			}
		}
	}
	if err := json.Unmarshal(out, &table); err != nil {
		return fmt.Errorf("understand sfdisk: %w", err)
	}
	parts := table.PartitionTable.Partitions
	d.Damaged = len(parts) == 1 && parts[0].Type == protective
	for _, p := range parts {
		number, _ := strconv.Atoi(strings.TrimLeft(strings.TrimPrefix(p.Node, "disk"), "p"))
		part := Partition{
			Partition: blockdev.Partition{Number: number, Type: strings.ToLower(p.Type), UUID: strings.ToLower(p.UUID), NoAuto: strings.Contains(p.Attrs, "63")},
			Name:      p.Name, Offset: p.Start * max(512, table.PartitionTable.SectorSize),
		}
		d.TableSize = max(d.TableSize, part.Offset+p.Size*max(512, table.PartitionTable.SectorSize))
		if id, ok := strings.CutPrefix(table.PartitionTable.ID, "0x"); ok && table.PartitionTable.Label == "dos" {
			part.UUID = fmt.Sprintf("%s-%02x", strings.ToLower(id), number)
		}
		part.FS, _ = blockdev.ReadSuperblock(io.NewSectionReader(f, part.Offset, 1<<62))
		d.Partitions = append(d.Partitions, part)
	}
	return nil
}

// largeSector is the size of sectors that sfdisk doesn't expect in a file.
const largeSector = 4096

func hasGPT(f *os.File, sector int64) bool {
	b := make([]byte, 8)
	_, err := f.ReadAt(b, sector)
	return err == nil && string(b) == "EFI PART"
}

// sizeInGPT returns the size of the disk that a GPT was made for, which is up to its
// backup, 0 if there is no sound one.
func sizeInGPT(f *os.File, sector int64) int64 {
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, sector) // the file may end there
	if head = head[:n]; n < 92 || string(head[:8]) != "EFI PART" {
		return 0
	}
	le := binary.LittleEndian
	size, sum, backup := le.Uint32(head[12:]), le.Uint32(head[16:]), le.Uint64(head[32:])
	if size < 92 || int(size) > len(head) || backup >= uint64(math.MaxInt64/sector) {
		return 0
	}
	clear(head[16:20])
	if crc32.ChecksumIEEE(head[:size]) != sum {
		return 0
	}
	return int64(backup+1) * sector
}

// readLarge reads the GPT of a disk with large sectors.
func (d *Disk) readLarge(f *os.File) {
	le := binary.LittleEndian
	head := make([]byte, 92)
	if _, err := f.ReadAt(head, largeSector); err != nil {
		return
	}
	for _, p := range blockdev.ReadPartitions(f, largeSector) {
		entry := make([]byte, 128)
		at := int64(le.Uint64(head[72:]))*largeSector + int64(p.Number-1)*int64(le.Uint32(head[84:]))
		if _, err := f.ReadAt(entry, at); err != nil {
			return
		}
		var name []uint16
		for i := 56; i < len(entry) && le.Uint16(entry[i:]) != 0; i += 2 {
			name = append(name, le.Uint16(entry[i:]))
		}
		start := le.Uint64(entry[32:])
		if start > math.MaxInt64/largeSector {
			continue
		}
		part := Partition{Partition: p, Name: string(utf16.Decode(name)), Offset: int64(start) * largeSector}
		part.FS, _ = blockdev.ReadSuperblock(io.NewSectionReader(f, part.Offset, 1<<62))
		d.Partitions = append(d.Partitions, part)
	}
}

// ESPs returns the EFI system partitions. Firmware may start what is on any of them.
func (d *Disk) ESPs() (all []Partition) {
	for _, p := range d.Partitions {
		if p.Type == espType || p.Type == espTypeMBR {
			all = append(all, p)
		}
	}
	return all
}

// xbootldrType is the partition type of one for boot loader entries only.
const xbootldrType = "bc13c2ff-59e6-4262-a352-b275fd6f7172"

// BootPartitions returns those where boot loaders look for entries, the EFI system
// partitions first.
func (d *Disk) BootPartitions() (parts []Partition) {
	parts = d.ESPs()
	for _, p := range d.Partitions {
		if p.Type == xbootldrType {
			parts = append(parts, p)
		}
	}
	return parts
}

// Root returns the partition that root= means. The name of a device says only
// which number it has.
func (d *Disk) Root(r *Report, root, arch string) (Partition, bool) {
	spec, err := blockdev.ParseSpec(root, arch)
	if err != nil {
		return Partition{}, false // Cmdline has said so
	}
	for _, p := range d.Partitions {
		digits := root[len(strings.TrimRight(root, "0123456789")):]
		named := strings.HasPrefix(root, "/dev/") && !strings.HasPrefix(root, "/dev/disk/") && digits == strconv.Itoa(p.Number)
		if named || spec.Means(p.Partition, p.Name, p.FS) {
			r.Fact("root", "partition %d, %s", p.Number, p.FS.Type)
			return p, true
		}
	}
	var have []string
	for _, p := range d.Partitions {
		have = append(have, fmt.Sprintf("%d (%s)", p.Number, p.Name))
	}
	r.Stop("root/not-on-disk", "%s is not on the disk, which has the partitions %s", spec, strings.Join(have, ", "))
	return Partition{}, false
}

// BootFiles lists the files of the EFI system partition.
func (d *Disk) BootFiles(ctx context.Context, esp Partition) ([]string, error) {
	out, _, err := d.tools.Run(ctx, 1<<20, nil, "mdir", "-i", "disk@@"+strconv.FormatInt(esp.Offset, 10), "-b", "-/", "::")
	if failed := (*disktool.Error)(nil); errors.As(err, &failed) && strings.Contains(failed.Said, `File "::" not found`) {
		return nil, nil // it is empty
	}
	if err != nil {
		return nil, err
	}
	return parseListing(string(out))
}

// ErrListing is the cause if a name on a FAT file system has a character in it that none
// may have, so that what there is can't be told from its listing.
var ErrListing = errors.New("it has a name with a slash or a line end in it, which hides what is called so")

// parseListing reads what mdir prints: a path on each line, directories with a slash.
func parseListing(text string) (files []string, err error) {
	seen := map[string]bool{"": true} // the directories, and every line
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, ok := strings.CutPrefix(line, "::/")
		dir := strings.TrimSuffix(name, "/")
		dir = dir[:strings.LastIndexByte(dir, '/')+1]
		if !ok || seen[name] || !seen[dir] || strings.ContainsAny(name, "\r\v\f\x00") {
			return nil, fmt.Errorf("%w: %q", ErrListing, line)
		}
		seen[name] = true
		if !strings.HasSuffix(name, "/") {
			files = append(files, name)
		}
	}
	return files, nil
}

// mtoolsName escapes what mtools takes for a pattern, in the manner of a shell.
var mtoolsName = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `*`, `\*`, `?`, `\?`)

// ReadBootFile returns the content of a file of the EFI system partition.
func (d *Disk) ReadBootFile(ctx context.Context, esp Partition, name string, limit int64) ([]byte, error) {
	out, _, err := d.tools.Run(ctx, limit, nil, "mtype", "-i", "disk@@"+strconv.FormatInt(esp.Offset, 10), "::/"+mtoolsName.Replace(name))
	if err != nil {
		return nil, fmt.Errorf("read %s on partition %d: %w", name, esp.Number, err)
	}
	return out, nil
}
