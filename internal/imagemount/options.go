package imagemount

import (
	"os"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A VerityLevel says how far fs-verity is insisted on.
type VerityLevel uint8

// The levels. The zero value is Require if it is known which image it must be, else Off.
const (
	Implied VerityLevel = iota
	Off                 // not at all: the image is hashed once, files are read as they are
	Try                 // as Require where kernel and file systems can, elsewhere as Off
	Require             // for the image, and for each file whenever it is read
)

// Options say how an image is to be mounted, and which one it must be.
type Options struct {
	Digest   verity.Digest // that the image must have; zero: any
	Signed   bool          // it must have a seal by one of Keys, which ReadSeal finds
	Keys     sign.Keyring
	ReadSeal sign.ReadSeal
	Verity   VerityLevel

	Objects  *os.File // open directory of contents, looked through before Basedirs; or nil
	Basedirs []string // paths of others
	Upper    string   // paths of the directories that make it writable; both or none
	Work     string
	UserNS   string // path of the user namespace that maps owners, or ""

	ReadOnly bool
	Set      uint64 // unix.MOUNT_ATTR_* of the mount to set
	Clear    uint64 // and to clear
	Named    bool   // the digest, if it is known, is shown as the mount's source
}

// known reports whether it is known which image it must be.
func (o *Options) known() bool { return o.Signed || !o.Digest.IsZero() }

// Level returns Verity, or what it implies: to say which image it must be is to mean its
// files as well.
func (o *Options) Level() VerityLevel {
	switch {
	case o.Verity != Implied:
		return o.Verity
	case o.known():
		return Require
	}
	return Off
}
