package erofs

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

const (
	blockBits = 12
	blockSize = 1 << blockBits
	slotSize  = 32 // inodes start at multiples of this

	superOffset  = 1024
	superSize    = 128
	inodesOffset = superOffset + superSize

	superMagic        = 0xe0f5e1e2
	compatChecksum    = 1
	compatMtime       = 2
	compatXattrFilter = 4
	incompatChunked   = 4
)

// superblock is struct erofs_super_block. Rest has the fields that composefs leaves zero.
//
//	0       4          8                12     13   14        16
//	+-------+----------+----------------+------+----+---------+
//	| magic | checksum | feature compat | bits | 0  | root    |
//	+-------+----------+----------------+------+----+---------+
//	16       24           32        36       40          44         48
//	+--------+------------+---------+--------+-----------+----------+
//	| inodes | build time | … nsec  | blocks | meta blk  | xattr blk|
//	+--------+------------+---------+--------+-----------+----------+
//	48     64       80                 84                         128
//	+------+--------+------------------+---------------------------+
//	| uuid | volume | feature incompat | rest                      |
//	+------+--------+------------------+---------------------------+
type superblock struct {
	Magic, Checksum, FeatureCompat uint32
	BlockBits, ExtSlots            uint8
	RootNid                        uint16
	Inodes                         uint64
	BuildTime                      int64
	BuildTimeNsec, Blocks          uint32
	MetaBlock, XattrBlock          uint32
	UUID, VolumeName               [16]byte
	FeatureIncompat                uint32
	Rest                           [44]byte
}

// Layouts of an inode's data, from bit 1 of its format on. Bit 0 says extended.
const (
	layoutPlain  = 0 // in blocks
	layoutInline = 2 // in blocks, and the last part behind the inode
	layoutChunk  = 4 // a map of chunks behind the inode
)

// inodeCompact is struct erofs_inode_compact. It has no time: the build time in the
// superblock applies.
//
//	0        2        4      6       8      12  16   20    24    26    28  32
//	+--------+--------+------+-------+------+---+----+-----+-----+-----+---+
//	| format | xattrs | mode | nlink | size | 0 | u  | ino | uid | gid | 0 |
//	+--------+--------+------+-------+------+---+----+-----+-----+-----+---+
type inodeCompact struct {
	Format, XattrCount, Mode, Nlink uint16
	Size, _                         uint32
	U, Ino                          uint32
	UID, GID                        uint16
	_                               uint32
}

// inodeExtended is struct erofs_inode_extended.
//
//	0        2        4      6   8      16  20    24    28    32      40     44      48  64
//	+--------+--------+------+---+------+---+-----+-----+-----+-------+------+-------+---+
//	| format | xattrs | mode | 0 | size | u | ino | uid | gid | mtime | nsec | nlink | 0 |
//	+--------+--------+------+---+------+---+-----+-----+-----+-------+------+-------+---+
type inodeExtended struct {
	Format, XattrCount, Mode, _ uint16
	Size                        uint64
	U, Ino                      uint32
	UID, GID                    uint32
	Mtime                       int64
	MtimeNsec, Nlink            uint32
	_                           [16]byte
}

const (
	compactSize  = 32
	extendedSize = 64
)

func (i *inodeCompact) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(le.AppendUint16(b, i.Format), i.XattrCount)
	b = le.AppendUint16(le.AppendUint16(b, i.Mode), i.Nlink)
	b = le.AppendUint32(le.AppendUint32(b, i.Size), 0)
	b = le.AppendUint32(le.AppendUint32(b, i.U), i.Ino)
	b = le.AppendUint16(le.AppendUint16(b, i.UID), i.GID)
	return le.AppendUint32(b, 0)
}

func (i *inodeExtended) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(le.AppendUint16(b, i.Format), i.XattrCount)
	b = le.AppendUint16(le.AppendUint16(b, i.Mode), 0)
	b = le.AppendUint64(b, i.Size)
	b = le.AppendUint32(le.AppendUint32(b, i.U), i.Ino)
	b = le.AppendUint32(le.AppendUint32(b, i.UID), i.GID)
	b = le.AppendUint64(b, uint64(i.Mtime))
	b = le.AppendUint32(le.AppendUint32(b, i.MtimeNsec), i.Nlink)
	return append(b, make([]byte, 16)...)
}

// dirent is struct erofs_dirent. A directory block is its dirents, then their
// names; the first NameOff therefore tells how many there are.
//
//	0     8         10     11  12
//	+-----+---------+------+---+
//	| nid | nameoff | kind | 0 |
//	+-----+---------+------+---+
type dirent struct {
	Nid     uint64
	NameOff uint16
	Kind    tree.Kind
	_       uint8
}

const direntSize = 12

// xattrHeader is struct erofs_xattr_ibody_header. The ids of shared xattrs follow,
// 4 bytes each, then the inode's own entries.
//
//	0        4        5            12
//	+--------+--------+------------+
//	| filter | shared | 0          |
//	+--------+--------+------------+
type xattrHeader struct {
	Filter uint32 // a bit is clear if there is a name with that hash
	Shared uint8
	_      [7]uint8
}

const xattrHeaderSize = 12

// xattrEntry is struct erofs_xattr_entry. The name without its prefix and the
// value follow, and zeros up to a multiple of 4.
//
//	0          1       2            4
//	+----------+-------+------------+
//	| name len | index | value size |
//	+----------+-------+------------+
type xattrEntry struct {
	NameLen, Index uint8
	ValueSize      uint16
}

const xattrEntrySize = 4

// typeBits maps a kind to the file type of a mode.
var typeBits = [...]uint16{
	tree.Regular: 0o100000, tree.Directory: 0o040000, tree.CharDevice: 0o020000, tree.BlockDevice: 0o060000,
	tree.FIFO: 0o010000, tree.Socket: 0o140000, tree.Symlink: 0o120000,
}

// Chunks: a file's content is divided into chunks of 2^n bytes, each with an entry of 4
// bytes in the map. Larger files have larger chunks, so one entry is enough up to 8 TiB.
const (
	chunkBitsMin  = blockBits
	chunkBitsMax  = blockBits + 31
	chunkCountMax = 1024
	chunkMapHole  = 0xffffffff
)

// chunkBits returns log2 of the chunk size for a file of size > 0 bytes.
func chunkBits(size uint64) int { return min(max(bits.Len64(size-1), chunkBitsMin), chunkBitsMax) }

// chunkCount returns the number of chunks of a file of size > 0 bytes.
func chunkCount(size uint64) uint64 { return (size-1)>>chunkBits(size) + 1 }

// roundUp rounds x up to a multiple of the power of two a.
func roundUp[T int | int64 | uint64](x, a T) T { return (x + a - 1) &^ (a - 1) }

// metacopyHeaderSize is the size of the part before the digest in the value of
// trusted.overlay.metacopy: version 0, length of the value, flags 0, algorithm.
const metacopyHeaderSize = 4

// appendMetacopy appends the value of trusted.overlay.metacopy, which is empty without a
// digest.
func appendMetacopy(b []byte, d verity.Digest) []byte {
	if d.IsZero() {
		return b
	}
	b = append(b, 0, byte(metacopyHeaderSize+d.Algorithm().Size()), 0, byte(d.Algorithm()))
	return d.AppendBytes(b)
}

// parseMetacopy is the inverse of appendMetacopy.
func parseMetacopy(b []byte) (verity.Digest, error) {
	if len(b) == 0 {
		return verity.Digest{}, nil
	}
	if len(b) < metacopyHeaderSize || b[0] != 0 || int(b[1]) != len(b) || b[2] != 0 {
		return verity.Digest{}, fmt.Errorf("malformed %s of %d bytes", nameMetacopy, len(b))
	}
	return verity.NewDigest(verity.Algorithm(b[3]), b[metacopyHeaderSize:])
}

// Names of xattrs with a meaning here. Overlayfs uses its own to find content and deleted
// files. If a file of the tree has such an xattr, the image stores it escaped, as overlayfs
// itself does, so that a mount shows it.
const (
	overlayPrefix        = "trusted.overlay."
	overlayEscapedPrefix = "trusted.overlay.overlay."

	nameMetacopy = "trusted.overlay.metacopy"
	nameRedirect = "trusted.overlay.redirect"
	nameOpaque   = "trusted.overlay.opaque"

	nameEscapedWhiteout  = "trusted.overlay.overlay.whiteout"
	nameEscapedWhiteouts = "trusted.overlay.overlay.whiteouts"
	nameEscapedOpaque    = "trusted.overlay.overlay.opaque"
	nameUserWhiteout     = "user.overlay.whiteout"
	nameUserWhiteouts    = "user.overlay.whiteouts"
	nameUserOpaque       = "user.overlay.opaque"

	nameSELinux    = "security.selinux"
	nameACLAccess  = "system.posix_acl_access"
	nameACLDefault = "system.posix_acl_default"
)

// escapeName returns the name under which an image stores an xattr.
func escapeName(name string) string {
	if rest, ok := strings.CutPrefix(name, overlayPrefix); ok {
		return overlayEscapedPrefix + rest
	}
	return name
}

// xattrPrefixes are the prefixes by their index. Readers know all of them.
var xattrPrefixes = [...]string{
	0: "", 1: "user.", 2: nameACLAccess, 3: nameACLDefault, 4: "trusted.", 5: "lustre.", 6: "security.",
}

// splitName splits a name into the index of its prefix, which is one of the given indexes,
// and the rest. No prefix begins with another one.
func splitName(name string, prefixes []uint8) (index uint8, suffix string) {
	for _, i := range prefixes {
		if rest, ok := strings.CutPrefix(name, xattrPrefixes[i]); ok {
			return i, rest
		}
	}
	return 0, name
}

// filterSeed is EROFS_XATTR_FILTER_SEED.
const filterSeed = 0x25bbe08f

// filterBit returns the bit that is clear in the filter of an inode that has an
// xattr of this name.
func filterBit(index uint8, suffix string) uint32 {
	return 1 << (xxh32([]byte(suffix), filterSeed+uint32(index)) & 31)
}

const (
	xxhPrime1 uint32 = 2654435761
	xxhPrime2 uint32 = 2246822519
	xxhPrime3 uint32 = 3266489917
	xxhPrime4 uint32 = 668265263
	xxhPrime5 uint32 = 374761393
)

// xxh32 is the 32-bit xxHash of b, which the kernel's xattr filter uses.
func xxh32(b []byte, seed uint32) uint32 {
	h := seed + xxhPrime5
	length := uint32(len(b))
	if len(b) >= 16 {
		v := [4]uint32{seed + xxhPrime1 + xxhPrime2, seed + xxhPrime2, seed, seed - xxhPrime1}
		for ; len(b) >= 16; b = b[16:] {
			for i := range v {
				v[i] = bits.RotateLeft32(v[i]+binary.LittleEndian.Uint32(b[4*i:])*xxhPrime2, 13) * xxhPrime1
			}
		}
		h = bits.RotateLeft32(v[0], 1) + bits.RotateLeft32(v[1], 7) + bits.RotateLeft32(v[2], 12) + bits.RotateLeft32(v[3], 18)
	}
	h += length
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxhPrime3, 17) * xxhPrime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxhPrime5, 11) * xxhPrime1
	}
	h = (h ^ h>>15) * xxhPrime2
	h = (h ^ h>>13) * xxhPrime3
	return h ^ h>>16
}
