package erofs

import "github.com/composefs-go/composefs/erofs/tree"

// The tree that an image is made of and read into.
type (
	Node  = tree.Node
	Entry = tree.Entry
	Kind  = tree.Kind
	Time  = tree.Time
	Xattr = tree.Xattr
)

// The kinds of a Node.
const (
	Regular     = tree.Regular
	Directory   = tree.Directory
	CharDevice  = tree.CharDevice
	BlockDevice = tree.BlockDevice
	FIFO        = tree.FIFO
	Socket      = tree.Socket
	Symlink     = tree.Symlink
)
