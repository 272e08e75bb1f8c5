package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/artifact/disk"
)

type diskOptions struct {
	repo, output      string
	images            []string
	uki               string
	esp               []string
	espSize, rootSize int64
	emptyVar          bool
	writeDevice       bool
	sectorSize        int
}

const diskLong = `Disk makes a disk image that boots on UEFI machines: an EFI system partition with the
UKI, and an ext4 partition with the image, all its objects with fs-verity already
enabled, its seals, and room for /etc and /var.

It needs no privileges and no loop device. The file is sparse, and the same input gives
the same bytes; SOURCE_DATE_EPOCH sets all times.

With --write-device, FILE is a disk such as /dev/sdX, and everything on it is
overwritten. A disk that is mounted or otherwise in use is refused, and so is a
partition. The image is first made in $TMPDIR (/var/tmp).

A disk boots only if its sectors have the size that the partition table was made for:
512 bytes on nearly all disks and virtual machines, 4096 on some (lsblk -o LOG-SEC),
which need --sector-size 4096.

/var starts as a copy of the image's.

The programs on the EFI system partition must all be for the same architecture. It
determines the type of the root partition and the name under which --uki is stored:
EFI/BOOT/BOOTX64.EFI, BOOTAA64.EFI or BOOTRISCV64.EFI. The file system is FAT: names must
be ASCII, and case makes no difference.`

func newDisk(u *ui) *cobra.Command {
	var o diskOptions
	cmd := &cobra.Command{
		Use:   "disk --repo DIR --image IMAGE --output FILE",
		Short: "make a disk image that boots",
		Long:  diskLong,
		Example: `  mkimage disk --repo repo --image debian/13 --uki linux.efi --output disk.img
  mkimage disk --repo repo --image debian/13 --output disk.img \
      --esp EFI/BOOT/BOOTX64.EFI=systemd-bootx64.efi --esp loader/entries/debian.conf=entry.conf
  mkimage disk --repo repo --image debian/13 --uki linux.efi --write-device --output /dev/sdX`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := require(cmd, "repo", "image", "output"); err != nil {
				return err
			}
			if cmd.Flags().Changed("sector-size") && o.sectorSize != 512 && o.sectorSize != 4096 {
				return usagef(cmd, "--sector-size: want 512 or 4096, found %d", o.sectorSize)
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR`")
	f.StringArrayVar(&o.images, "image", nil, "put `IMAGE` (a digest or a ref) and its objects on the disk (repeatable)")
	f.StringVar(&o.uki, "uki", "", "UKI `FILE`: it becomes the program that firmware starts")
	f.StringArrayVar(&o.esp, "esp", nil, "put a file into the EFI system partition, as `PATH=FILE` (repeatable)")
	f.Int64Var(&o.espSize, "esp-size", 0, "size of the EFI system partition in `MIB` (default: as needed, with some spare room)")
	f.Int64Var(&o.rootSize, "root-size", 0, "size of the root partition in `MIB` (default: as needed, with some spare room)")
	f.BoolVar(&o.emptyVar, "empty-var", false, "start with an empty /var")
	f.IntVar(&o.sectorSize, "sector-size", 0, "size of the disk's sectors in `BYTES`, 512 or 4096 (default: the device's, else 512)")
	f.StringVarP(&o.output, "output", "o", "", "write the disk to `FILE`")
	f.BoolVar(&o.writeDevice, "write-device", false, "FILE is a disk: overwrite everything on it")
	return cmd
}

// diskReport is what disk reports.
type diskReport struct {
	File       string           `json:"file"`
	Size       int64            `json:"size"`
	Objects    int              `json:"objects"`
	Partitions []disk.Partition `json:"partitions"`
}

func (o *diskOptions) run(cmd *cobra.Command, u *ui) error {
	target, err := o.open(cmd) // before anything else: no build if the device can't be written
	if err != nil {
		return err
	}
	defer target.close()
	esp, arch, err := o.espEntries(cmd)
	if err != nil {
		return err
	}
	remarks, err := bootEntryRemarks(esp)
	if err != nil {
		return err
	}
	for _, r := range remarks {
		u.remark("%s", r)
	}
	r, err := openRepo(u, o.repo)
	if err != nil {
		return err
	}
	defer r.Close()
	layout, err := disk.Source{Repo: r, Images: o.images, Var: !o.emptyVar}.Layout()
	if err != nil {
		return repositoryDamage(err)
	}
	if remarks, err = ukiRemarks(esp, layout); err != nil {
		return err
	}
	for _, r := range remarks {
		u.remark("%s", r)
	}
	root, err := layout.Entries()
	if err != nil {
		return err
	}
	im := disk.Image{
		Arch: arch, Seed: layout.Images[0].Hex(), Time: sourceDate(), ESP: esp, Root: root,
		ESPSize: o.espSize << 20, RootSize: o.rootSize << 20, SectorSize: o.sectorSize,
	}
	if err := target.write(cmd.Context(), u, im); err != nil {
		return repositoryDamage(err)
	}
	im.DiskSize, im.SectorSize = target.size(), target.sector(o.sectorSize)
	plan, err := disk.MakePlan(im)
	if err != nil {
		return err
	}
	u.progress.stop()
	report := diskReport{o.output, plan.Size, len(layout.Objects), []disk.Partition{plan.ESP, plan.Root}}
	return u.result(report, fmt.Sprintf("%s: %s, ESP %s, root %s with %d objects",
		o.output, size(plan.Size), size(plan.ESP.Size), size(plan.Root.Size), len(layout.Objects)))
}

// sourceDate is the time that reproducible builds agree upon; zero without one.
func sourceDate() time.Time {
	sec, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}
