// Package blockdev finds the block device that "root=" means, without udev.
//
//	root=        found by
//	/dev/vda2    the name
//	PARTLABEL=   /sys, which has the names of partitions
//	PARTUUID=    the partition table (GPT, or the MBR's disk number)
//	UUID=LABEL=  the superblock (ext4, XFS, btrfs)
//	nothing      the partition type that the Discoverable Partitions
//	             Specification has for a root of this architecture
//
// If several devices match, the one on the disk that the boot loader came from is
// chosen; systemd-boot and systemd-stub name that disk in an EFI variable.
//
// Reads from disks are bounded, and nothing that is read is trusted: it only chooses a
// device, and what is booted from it is verified later.
package blockdev
