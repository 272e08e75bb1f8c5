package erofs

import (
	"encoding/binary"
	"testing"
)

func TestSizesOnDisk(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    any
		want int
	}{
		{"header", header{}, headerSize},
		{"superblock", superblock{}, superSize},
		{"compact inode", inodeCompact{}, compactSize},
		{"extended inode", inodeExtended{}, extendedSize},
		{"dirent", dirent{}, direntSize},
		{"xattr header", xattrHeader{}, xattrHeaderSize},
		{"xattr entry", xattrEntry{}, xattrEntrySize},
	} {
		if got := binary.Size(tt.v); got != tt.want {
			t.Errorf("%s: want %d bytes, found %d", tt.name, tt.want, got)
		}
	}
}

// The records that are put together by hand agree with their structs.
func TestAppendEqualsStruct(t *testing.T) {
	c := inodeCompact{Format: 1, XattrCount: 2, Mode: 3, Nlink: 4, Size: 5, U: 6, Ino: 7, UID: 8, GID: 9}
	e := inodeExtended{Format: 1, XattrCount: 2, Mode: 3, Size: 5, U: 6, Ino: 7, UID: 8, GID: 9, Mtime: -10, MtimeNsec: 11, Nlink: 12}
	for _, tt := range []struct {
		name string
		v    any
		got  []byte
	}{{"compact inode", c, c.appendTo(nil)}, {"extended inode", e, e.appendTo(nil)}} {
		want, err := binary.Append(nil, binary.LittleEndian, tt.v)
		if err != nil || string(want) != string(tt.got) {
			t.Errorf("%s: want % x, found % x", tt.name, want, tt.got)
		}
	}
}

// Values from the description of xxHash, and of the filter in the kernel.
func TestXXH32(t *testing.T) {
	for _, tt := range []struct {
		text         string
		zero, seeded uint32
	}{
		{"", 0x02cc5d05, 0x5571632c},
		{"a", 0x550d7456, 0xfd8c25c5},
		{"abc", 0x32d153ff, 0x7821ed97},
		{"overlay.metacopy", 0x79452740, 0xdbe5e05f},
		{"0123456789abcdef0123456789abcdef!", 0x0c66a739, 0xea3b8093},
	} {
		if got := xxh32([]byte(tt.text), 0); got != tt.zero {
			t.Errorf("xxh32(%q, 0): want %#x, found %#x", tt.text, tt.zero, got)
		}
		if got := xxh32([]byte(tt.text), filterSeed+4); got != tt.seeded {
			t.Errorf("xxh32(%q, seed): want %#x, found %#x", tt.text, tt.seeded, got)
		}
	}
}

func TestFilterBits(t *testing.T) {
	for name, want := range map[string]uint32{
		nameOpaque: 20, nameMetacopy: 31, nameRedirect: 17, nameEscapedOpaque: 5, nameEscapedWhiteout: 4, nameEscapedWhiteouts: 12,
		nameUserOpaque: 10, nameUserWhiteout: 9, nameUserWhiteouts: 20, nameSELinux: 11, "security.capability": 29,
		nameACLAccess: 30, nameACLDefault: 21,
	} {
		if index, suffix := splitName(name, classicRules.prefixes); filterBit(index, suffix) != 1<<want {
			t.Errorf("%s: want bit %d, found %#x", name, want, filterBit(index, suffix))
		}
	}
}

func TestChunks(t *testing.T) {
	for _, tt := range []struct {
		size  uint64
		bits  int
		count uint64
	}{
		{1, 12, 1}, {4096, 12, 1}, {4097, 13, 1}, {1 << 20, 20, 1}, {1<<20 + 1, 21, 1}, {1 << 43, 43, 1}, {1<<43 + 1, 43, 2},
		{1024 << 43, 43, 1024}, {1024<<43 + 1, 43, 1025}, {1<<64 - 1, 43, 1 << 21},
	} {
		if b, n := chunkBits(tt.size), chunkCount(tt.size); b != tt.bits || n != tt.count {
			t.Errorf("%d bytes: want %d chunks of 2^%d, found %d of 2^%d", tt.size, tt.count, tt.bits, n, b)
		}
	}
}
