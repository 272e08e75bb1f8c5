// Package erofs writes and reads composefs images: EROFS file systems that hold
// names and metadata only. The content of files lies outside, in an object store,
// and overlayfs finds it through two extended attributes.
//
// An image is a multiple of 4096 bytes, all numbers little endian:
//
//	0      +--------------------------------------+
//	       | composefs header, 32 bytes           |  version, ACL flag
//	1024   +--------------------------------------+
//	       | EROFS superblock, 128 bytes          |  root inode, times, sizes
//	1152   +--------------------------------------+
//	       | inodes, each at a multiple of 32     |  number = offset / 32
//	       |  +-----------------------------+     |
//	       |  | record, 32 or 64 bytes      |     |
//	       |  +-----------------------------+     |
//	       |  | xattrs: filter, shared ids, |     |
//	       |  | own entries                 |     |
//	       |  +-----------------------------+     |
//	       |  | tail: last directory block, |     |
//	       |  | symlink target, content or  |     |
//	       |  | chunk map                   |     |
//	       |  +-----------------------------+     |
//	       +--------------------------------------+
//	       | shared xattrs, each entry once       |
//	       +--- at a multiple of 4096 ------------+
//	       | blocks: directories, long targets,   |
//	       | content that is too long for a tail  |
//	       +--------------------------------------+
//
// A regular file with content outside has no data here but a map of holes, and
//
//	trusted.overlay.metacopy   version, length, flags, algorithm, digest
//	trusted.overlay.redirect   "/" and the path in the object store
//
// Same tree, same format, same bytes: the digest of the image names it. V0 and V1
// are the layout of libcomposefs, V2 is that of composefs-rs. V1 is V0 with two
// more xattrs on directories that have whiteouts.
//
// In V0 and V1 the tree that is stored is not quite the one that is given: xattrs
// named trusted.overlay.* are escaped, whiteouts become files that an overlayfs in
// an overlayfs takes for whiteouts, and the root gets 256 character devices 00 to
// ff, which hide the directories of the object store should it be used as a lower
// layer. Image.Tree undoes all this.
//
// The package doesn't look into compressed data, devices, or anything else of
// EROFS that composefs doesn't use. Source of the format: fs/erofs/erofs_fs.h in
// Linux; libcomposefs/erofs_fs_wrapper.h for the header.
package erofs
