package boot

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// A disk made for blocks of 4096 bytes boots where the device has such, from firmware to
// the guest; with one bit of it changed it is refused, as any. Where blocks have 512
// bytes nobody finds its partitions.
func TestLargeBlocks(t *testing.T) {
	b := need(t)
	disk := shared.once(t, "large-blocks.img", func(path string) error {
		dir, _ := shared.kernel(t, "trixie")
		uki := path + ".efi"
		if _, err := shared.mkimage("uki", "build", "--stub", stub, "--linux", filepath.Join(dir, "vmlinuz"), "--initrd", shared.initrd(t, "trixie", ""),
			"--os-release", shared.path("root-1/usr/lib/os-release"), "--cmdline", machineArguments+" root=PARTLABEL=root ro", "--image", b.image, "--output", uki); err != nil {
			return err
		}
		_, err := shared.mkimage("disk", "--repo", b.repo, "--image", b.image, "--uki", uki, "--sector-size", "4096", "--output", path)
		return err
	})
	b.disk = disk
	for _, c := range []struct {
		name   string
		small  bool
		change change
		check  func(*testing.T, vm.Console)
	}{
		{name: "as it was made", check: func(t *testing.T, c vm.Console) { checkGood(t, c, b.image, "valid") }},
		{name: "image byte flipped", change: func(t *testing.T, b base, disk string) { flip(t, b, disk, b.image) },
			check: func(t *testing.T, c vm.Console) { checkRefused(t, c, 5, "damaged") }},
		{name: "on a device with small blocks", small: true, check: func(t *testing.T, c vm.Console) {
			if c.Has("Linux version") || c.Has("GUEST") || !nothingToBoot.MatchString(c.Tail(30)) {
				t.Errorf("the firmware found something to boot:\n%s", c.Tail(30))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := vm.Machine{Name: t.Name(), Firmware: firmware(t), Disk: changedDisk(t, b, c.change), LargeBlocks: !c.small}
			console, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, nothingToBoot)
			if err != nil {
				t.Fatalf("%v\n%s", err, console.Tail(30))
			}
			t.Logf("%.1f s", console.Took.Seconds())
			c.check(t, console)
		})
	}
}

// nothingToBoot is what firmware without Secure Boot says in the end.
var nothingToBoot = regexp.MustCompile(`No bootable option or device was found|UEFI Interactive Shell`)

// largeBlocksOffset is partitionOffset for a disk whose partition table is for blocks of
// 4096 bytes, which sfdisk expects in no file.
func largeBlocksOffset(t *testing.T, disk string, partition int) (int64, bool) {
	t.Helper()
	const block, entrySize, first = 4096, 128, 32
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 3*block)
	if _, err := f.ReadAt(b, 0); err != nil || !strings.HasPrefix(string(b[block:]), "EFI PART") {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(b[2*block+partition*entrySize+first:])) * block, true
}
