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
// If several devices fit, the one on the disk is meant that the boot loader came from;
// systemd-boot and systemd-stub say which one that is in an EFI variable.
//
// What is read from disks is bounded and nothing in it is trusted: it only
// chooses a device, and what is booted from it is verified later.
package blockdev
