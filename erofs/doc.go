// Package erofs writes and reads composefs images: EROFS file systems that hold
// only names and metadata. The content of files is kept outside, in an object
// store, where overlayfs finds it through two extended attributes.
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
// A regular file with external content has no data in the image except a map of holes, and
// the attributes
//
//	trusted.overlay.metacopy   version, length, flags, algorithm, digest
//	trusted.overlay.redirect   "/" and the path in the object store
//
// The same tree in the same format gives the same bytes, so the digest of an image
// identifies it. V0 and V1 have the layout of libcomposefs, V2 the layout of composefs-rs. V1
// is V0 with two more xattrs on directories that have whiteouts.
//
// V0 and V1 change the tree when storing it: xattrs named
// trusted.overlay.* are escaped, whiteouts become files that an overlayfs in an
// overlayfs takes for whiteouts, and the root gets 256 character devices 00 to ff,
// which hide the directories of the object store if it is used as a lower layer.
// Image.Tree undoes all this.
//
// V2 stores the tree as it is, except for properties that composefs-rs doesn't represent:
// link counts are the number of names, no name is the original, times have no nanoseconds,
// and a payload is derived from the digest. A tree that can't be
// represented is refused: content of more than 512 bytes, a symlink of more than
// 1024, hard links to a whiteout, a payload that names no object. When composefs-rs reads a
// tree from an image, it removes trusted.overlay.opaque and other marks of overlayfs;
// Image.Tree keeps them, so that the same image can be made again.
//
// The package doesn't support compressed data, devices, or any other part of EROFS
// that composefs doesn't use. Source of the format: fs/erofs/erofs_fs.h in Linux;
// libcomposefs/erofs_fs_wrapper.h for the header.
package erofs
