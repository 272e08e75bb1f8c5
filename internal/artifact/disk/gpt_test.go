package disk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// table is the script that has sfdisk make the partitions of a plan.
func table(p disk.Plan, sector int64) string {
	script := fmt.Sprintf("label: gpt\nlabel-id: %s\n", p.UUID)
	for _, p := range []disk.Partition{p.ESP, p.Root} {
		script += fmt.Sprintf("start=%d, size=%d, type=%s, uuid=%s, name=%q\n", p.Offset/sector, p.Size/sector, p.Type, p.UUID, p.Name)
	}
	return script
}

// ends are the first and last MiB of a disk, where nothing but the partition table is.
func ends(t *testing.T, name string, size int64) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.MultiReader(io.NewSectionReader(f, 0, 1<<20), io.NewSectionReader(f, size-1<<20, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// big has room for FAT32 in clusters of 4096 bytes.
func big(t *testing.T, sector int) disk.Image {
	im := sample(t, verity.SHA256)
	im.SectorSize, im.ESPSize = sector, 260<<20
	return im
}

// The partition table is byte for byte that of sfdisk, for disks of both kinds.
func TestSfdiskMakesTheSamePartitionTable(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			im := big(t, sector)
			name, p := write(t, im), plan(t, im)
			other := filepath.Join(t.TempDir(), "other")
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(other, p.Size); err != nil {
				t.Fatal(err)
			}
			// sfdisk asks the device for its sectors; a file has those of 512 bytes.
			device := other
			if sector != 512 {
				testutil.RequireRoot(t)
				device = attach(t, other, "--sector-size", fmt.Sprint(sector))
			}
			pipe(t, table(p, int64(sector)), "sfdisk", "--quiet", "--wipe=never", "--no-reread", "--no-tell-kernel", device)
			run(t, "sync", device)
			if !bytes.Equal(ends(t, name, p.Size), ends(t, device, p.Size)) {
				t.Error("the two differ")
			}
		})
	}
}

// On a disk whose sectors have 4096 bytes all checkers find what there shall be; on one
// with sectors of 512 bytes the same image has no partitions.
func TestCheckersAgreeOnLargeSectors(t *testing.T) {
	testutil.RequireRoot(t)
	im := big(t, 4096)
	name, p := write(t, im), plan(t, im)
	device := attach(t, name, "--sector-size", "4096", "--read-only")
	run(t, "sfdisk", "--verify", device)
	if out := run(t, "sgdisk", "-v", device); !strings.Contains(out, "No problems found") {
		t.Error(out)
	}
	var found struct {
		PartitionTable struct {
			SectorSize int64
			Partitions []struct {
				Start, Size      int64
				Type, UUID, Name string
			}
		}
	}
	if err := json.Unmarshal([]byte(run(t, "sfdisk", "--json", device)), &found); err != nil {
		t.Fatal(err)
	}
	if found.PartitionTable.SectorSize != 4096 || len(found.PartitionTable.Partitions) != 2 {
		t.Fatalf("sfdisk says %+v", found)
	}
	for i, want := range []disk.Partition{p.ESP, p.Root} {
		got := found.PartitionTable.Partitions[i]
		if got.Start*4096 != want.Offset || got.Size*4096 != want.Size || got.Name != want.Name ||
			!strings.EqualFold(got.UUID, want.UUID) || !strings.EqualFold(got.Type, want.Type) {
			t.Errorf("sfdisk says %+v, want %+v", got, want)
		}
	}
	if strings.Contains(run(t, "sfdisk", "--dump", attach(t, name, "--read-only")), "name=") {
		t.Error("there are partitions with sectors of 512 bytes too")
	}
	esp := cut(t, name, p.ESP)
	run(t, "fsck.vfat", "-n", esp)
	if got := run(t, "mcopy", "-i", esp, "::/EFI/Linux/composefs-0123456789+3.efi", "-"); got != string(content(3000000)) {
		t.Errorf("a file of %d bytes was read back", len(got))
	}
	head := head(t, esp, 14)
	if sector := int(head[11]) | int(head[12])<<8; sector != 4096 || head[13] != 1 {
		t.Errorf("FAT has sectors of %d bytes, %d to a cluster; want 4096, 1", sector, head[13])
	}
	run(t, "e2fsck", "-fn", cut(t, name, p.Root))
}

func TestSectorsOfOtherSizesAreRefused(t *testing.T) {
	for _, sector := range []int{-1, 1, 520, 1024, 2048, 8192, 1 << 40} {
		im := sample(t, verity.SHA256)
		im.SectorSize = sector
		if _, err := disk.MakePlan(im); !errors.Is(err, disk.ErrSector) || !strings.Contains(err.Error(), fmt.Sprintf("want 512 or 4096 bytes, found %d", sector)) {
			t.Errorf("%d bytes: %v", sector, err)
		}
	}
	im := sample(t, verity.SHA256)
	im.SectorSize = 4096
	if _, err := disk.MakePlan(im); !errors.Is(err, disk.ErrSize) || !strings.Contains(err.Error(), "at least 260 MiB") {
		t.Errorf("an EFI system partition that is too small for FAT32: %v", err)
	}
}
