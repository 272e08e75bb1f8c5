// Package disk writes a bootable disk image as an ordinary user: GPT, EFI
// system partition, and a root partition whose files have fs-verity on already.
//
//	0        1 MiB                                                     end
//	+--------+-----------------+-------------------------------+--------+
//	| GPT    | ESP, FAT32      | root, ext4 with fs-verity     | GPT    |
//	|        | /EFI/…          | /composefs /state             | backup |
//	+--------+-----------------+-------------------------------+--------+
//
// The file is sparse. Same input, same bytes: every time stamp is Image.Time,
// every UUID is derived from Image.Seed, and what is written follows the order
// of names.
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
// So a file is written with all of that as its content, and then its size is
// set back to the true one and the verity flag is set in the inode.
//
// # Why these tools
//
// ext4 is made by mke2fs and filled by one debugfs that reads commands from a
// pipe. Unlike `mke2fs -d DIRECTORY` this needs no second copy of everything,
// leaves the order of inodes to us instead of to readdir, and has files owned
// by root whoever runs it.
//
// The GPT is written here: sfdisk takes every file for a disk with sectors of 512 bytes.
// FAT is made by mkfs.vfat and mtools. The Go library for both that was tried (go-diskfs 1.9.4) puts the wall clock into directories,
// takes 6 s for a file of 70 MB where mtools takes 0.1 s, and fsck.vfat
// complains about its result.
package disk
