// Package disk writes a bootable disk image without privileges: GPT, EFI system partition,
// and a root partition in which fs-verity is already enabled on every object.
//
//	0        1 MiB                                                     end
//	+--------+-----------------+-------------------------------+--------+
//	| GPT    | ESP, FAT32      | root, ext4 with fs-verity     | GPT    |
//	|        | /EFI/…          | /composefs /state             | backup |
//	+--------+-----------------+-------------------------------+--------+
//
// The file is sparse. The same input gives the same bytes: every time stamp is Image.Time,
// every UUID is derived from Image.Seed, and files are written in the order of their names.
//
// # How fs-verity gets there without the kernel
//
// fs-verity keeps a file's Merkle tree and descriptor past the end of the file,
// and ext4 keeps them in the file's own blocks
// (Documentation/filesystems/ext4/verity.rst):
//
//	0            size      64 KiB multiple      4 KiB multiple
//	+------------+---------+--------------------+------------+-----------+
//	| content    | hole    | Merkle tree        | descriptor | hole | 256 |
//	|            |         | root level first   | 256 bytes  |      | u32 |
//	+------------+---------+--------------------+------------+-----------+
//
// So each file is written with all of this as its content; then its size is set back to the
// real one, and the verity flag is set in the inode.
//
// # Why these tools
//
// ext4 is made by mke2fs and filled by one debugfs that reads commands from a pipe. Unlike
// `mke2fs -d DIRECTORY` this needs no second copy of everything, lets us choose the order
// of inodes instead of readdir, and makes files owned by root whichever user runs it.
//
// The GPT is written by this package, because sfdisk treats every file as a disk with
// sectors of 512 bytes. FAT is made by mkfs.vfat and mtools. A Go library for both
// (go-diskfs 1.9.4) was tried: it puts the wall clock into directories, takes 6 s for a
// file of 70 MB where mtools takes 0.1 s, and makes file systems that fsck.vfat complains
// about.
package disk
