package digestcache

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// A key is everything by which a file is recognized. The part up to keyIdentity says
// which file it is, the rest whether it is unchanged.
type key [keySize]byte

const (
	keyIdentity = 4 + 8 + 8 + 8
	keySize     = keyIdentity + 8 + 12 + 12
)

// A fileSystem has the result of statfs.
type fileSystem struct {
	kind uint32
	id   [2]int32
}

// renewing has the magic numbers of the file systems that give a file a new change time
// whenever it changes.
var renewing = [...]uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC}

func (f fileSystem) renewsChangeTime() bool { return slices.Contains(renewing[:], f.kind) }

func newKey(f fileSystem, st *unix.Stat_t) key {
	be := binary.BigEndian
	var k key
	b := be.AppendUint32(k[:0], f.kind)
	b = be.AppendUint32(be.AppendUint32(b, uint32(f.id[0])), uint32(f.id[1]))
	b = be.AppendUint64(be.AppendUint64(b, uint64(st.Dev)), st.Ino)
	b = be.AppendUint64(b, uint64(st.Size))
	for _, t := range [...]unix.Timespec{st.Mtim, st.Ctim} {
		b = be.AppendUint32(be.AppendUint64(b, uint64(t.Sec)), uint32(t.Nsec))
	}
	return key(b)
}
