package boot

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// A change is done to a copy of the good disk.
type change func(t *testing.T, b base, disk string)

// changedDisk copies the good disk and applies the change; nil is the good disk
// itself.
func changedDisk(t *testing.T, b base, c change) string {
	t.Helper()
	if c == nil {
		return b.disk
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if _, err := run("cp", "--sparse=always", "--reflink=auto", b.disk, disk); err != nil {
		t.Fatal(err)
	}
	c(t, b, disk)
	return disk
}

// The partitions of a disk, in their order on it.
const (
	espPartition = iota
	rootPartition
)

// partitionOffset is where a partition begins, in bytes.
func partitionOffset(t *testing.T, disk string, partition int) int64 {
	t.Helper()
	if offset, ok := largeBlocksOffset(t, disk, partition); ok {
		return offset
	}
	out, err := run("sfdisk", "--json", disk)
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		PartitionTable struct {
			SectorSize int64
			Partitions []struct{ Start int64 }
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		t.Fatalf("read what sfdisk says of %s: %v", disk, err)
	}
	if partition >= len(table.PartitionTable.Partitions) {
		t.Fatalf("%s has %d partitions", disk, len(table.PartitionTable.Partitions))
	}
	return table.PartitionTable.Partitions[partition].Start * table.PartitionTable.SectorSize
}

// debugfs changes the root partition: nobody has to be root for that.
func debugfs(t *testing.T, disk string, commands ...string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "debugfs")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// It exits with 0 whatever happens; complaints are the lines that are not its
	// banner and not the echo of a command.
	out, err := run("sh", "-c", `debugfs -w -f "$1" "$2" 2>&1`, "sh", script, fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition)))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "debugfs") && !strings.HasPrefix(s, "Allocated inode") && !strings.HasPrefix(s, "Filesystem features:") {
			t.Fatalf("debugfs: %s", s)
		}
	}
}

// fill fills the root partition to the last block, and then its table of inodes.
func fill(t *testing.T, _ base, disk string) {
	t.Helper()
	large := filepath.Join(t.TempDir(), "large")
	if _, err := run("sh", "-c", `tr '\0' x </dev/zero | head -c "$(stat -c %s "$2")" >"$1"`, "sh", large, disk); err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition))
	// It complains when there is no room for more, which is the purpose.
	if _, err := run("debugfs", "-w", "-R", "write "+large+" /full", where); err != nil {
		t.Fatal(err)
	}
	free, err := run("sh", "-c", `dumpe2fs -h "$1" 2>/dev/null | sed -n 's/^Free blocks: *//p'`, "sh", where)
	if err != nil || free != "0" {
		t.Fatalf("%s blocks are free on the full disk, %v", free, err)
	}
}

// object is an object's path on the root partition.
func object(hex string) string { return "/composefs/objects/" + hex[:2] + "/" + hex[2:] }

// seal is the path of an image's seal; suffix ".minisig" is that of its signature.
func seal(hex, suffix string) string { return "/composefs/seals/" + hex + ".seal" + suffix }

// flip changes one bit on the disk, in the middle of an object, as a failing disk or
// somebody with a hex editor would.
func flip(t *testing.T, b base, disk, hex string) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	offset := partitionOffset(t, disk, rootPartition)
	// The exponent of the block's size is in the superblock, which begins at 1024.
	bits := make([]byte, 1)
	if _, err := f.ReadAt(bits, offset+1024+24); err != nil {
		t.Fatal(err)
	}
	block := int64(1024) << bits[0]
	object, err := os.Stat(filepath.Join(b.repo, "objects", hex[:2], hex[2:]))
	if err != nil {
		t.Fatal(err)
	}
	middle := object.Size() / 2
	out, err := run("debugfs", "-R", fmt.Sprintf("bmap /composefs/objects/%s/%s %d", hex[:2], hex[2:], middle/block), fmt.Sprintf("%s?offset=%d", disk, offset))
	if err != nil {
		t.Fatal(err)
	}
	at, err := strconv.ParseInt(out, 10, 64)
	if err != nil || at == 0 {
		t.Fatalf("debugfs says that block %d of object %s is %q", middle/block, hex, out)
	}
	place := offset + at*block + middle%block
	if _, err := f.ReadAt(bits, place); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{bits[0] ^ 1}, place); err != nil {
		t.Fatal(err)
	}
}

// replaceObject lets the name of an object lead to the content of another one,
// which has fs-verity on as well.
func replaceObject(of, by func(base) string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		debugfs(t, disk, "unlink "+object(of(b)), "ln "+object(by(b))+" "+object(of(b)))
	}
}

// write puts a file of the host in the place of one on the disk.
func write(t *testing.T, disk, path string, content []byte) {
	t.Helper()
	debugfs(t, disk, "unlink "+path)
	add(t, disk, path, content)
}

// add puts a file of the host on the disk.
func add(t *testing.T, disk, path string, content []byte) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(source, content, 0o644); err != nil {
		t.Fatal(err)
	}
	debugfs(t, disk, "write "+source+" "+path)
}

// stored is a file of the repository that the disk was made from.
func stored(t *testing.T, b base, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(b.repo, strings.TrimPrefix(path, "/composefs/")))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
