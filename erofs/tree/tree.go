// Package tree holds the file tree that every importer produces and every writer
// consumes.
//
// A tree is a root Node of kind Directory. A directory's children are entries: a
// name and a node. A node with several names (hard links) is one *Node; the entry
// that was added with Add is the original, those added with Link are further names.
// Which name is the original is part of the tree: it determines the position of the
// inode in a V0 or V1 image.
//
//	root ─┬─ "bin"  ─ Symlink → usr/bin
//	      └─ "usr"  ─┬─ "a" ─────────┬─ Regular {Object, Size}
//	                 └─ "b" (link) ──┘
//
// The package does no I/O.
package tree

import (
	"github.com/composefs-go/composefs/verity"
)

// Kind is the type of a file.
type Kind uint8

// The kinds, by their number in an EROFS directory entry.
const (
	Regular Kind = iota + 1
	Directory
	CharDevice
	BlockDevice
	FIFO
	Socket
	Symlink
)

// Time is a file's modification time: seconds since 1970 (negative before) and
// nanoseconds.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Xattr is one extended attribute, with its full name ("security.selinux").
type Xattr struct {
	Name  string
	Value []byte
}

// A Node is a file of any kind. Fields that its kind doesn't use are zero.
type Node struct {
	Kind  Kind
	Perm  uint16 // permission bits with setuid, setgid, sticky: 07777
	Nlink uint32 // link count in the source; writers recompute it for directories
	UID   uint32
	GID   uint32
	Rdev  uint32 // CharDevice, BlockDevice: the kernel's 32-bit encoding
	Size  uint64 // Regular: bytes; Symlink: length of Target; kept for others
	Mtime Time

	// Regular. A file with Inline has its content in the image. Otherwise its
	// content is an object: Object names it by digest, Payload is its path in
	// the object store (usually Object.ObjectPath()).
	Inline  []byte
	Object  verity.Digest
	Payload string

	Target string // Symlink

	xattrs   []Xattr  // ascending by name
	children *dirents // Directory; nil while it is empty
}

// InlineMax is the largest size in bytes of content that importers put into the image:
// longer content becomes an object. The C and Rust tools have the same limit.
const InlineMax = 64

// IsWhiteout reports whether n is an overlayfs whiteout: a character device 0:0.
func (n *Node) IsWhiteout() bool { return n.Kind == CharDevice && n.Rdev == 0 }
