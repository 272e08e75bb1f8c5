package erofs

import (
	"cmp"
	"math"

	"github.com/composefs-go/composefs/internal/tree"
)

// rules are what formats lay out each in its own way. What isn't here is the same
// in all of them: the records, directory blocks, xattr entries, and the order of
// the parts of an image.
type rules struct {
	number  func(p *Plan, root *tree.Node) error // all inodes in their order, with their xattrs
	measure func(p *Plan, inode uint32) error    // size, layout and tail of an inode, and its form
	place   func(in *inode, from int64) int64    // where it goes, at from or behind; returns where it ends
	compare func(a, b sharedXattr) int           // the order of shared xattrs

	prefixes     []uint8 // of xattr names, by index
	refsMax      uint32  // how many xattrs an inode has by reference at most
	absoluteIDs  bool    // those count from the image's start, not from the block where the table starts
	inoIsNid     bool    // i_ino is the place, not the number in the order
	wholeSeconds bool    // no nanoseconds are stored
}

// formatRules are the rules by format.
var formatRules = [...]*rules{V0: &classicRules, V1: &classicRules, V2: &nativeRules}

// classicRules are those of libcomposefs, for V0 and V1.
var classicRules = rules{
	number:   (*Plan).numberClassic,
	measure:  (*Plan).measureClassic,
	place:    (*inode).placeClassic,
	prefixes: []uint8{1, 2, 3, 4, 6}, // no lustre
	refsMax:  128,
	compare: func(a, b sharedXattr) int {
		return -cmp.Or(cmp.Compare(a.full, b.full), len(a.value)-len(b.value), cmp.Compare(a.value, b.value))
	},
}

// nativeRules are those of composefs-rs, for V2.
var nativeRules = rules{
	number:   (*Plan).numberNative,
	measure:  (*Plan).measureNative,
	place:    (*inode).placeNative,
	prefixes: []uint8{1, 2, 3, 4, 5, 6},
	refsMax:  math.MaxUint32,
	compare: func(a, b sharedXattr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.suffix, b.suffix), cmp.Compare(a.value, b.value))
	},
	absoluteIDs:  true,
	inoIsNid:     true,
	wholeSeconds: true,
}
