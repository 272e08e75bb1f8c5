package erofs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
)

// Where things are in the image of victim, as the format has it.
const (
	superAt = 1024
	rootAt  = 0x480
	sizeAt  = 8  // in a compact inode
	uAt     = 16 // in a compact inode
	layout  = 0
	modeAt  = 4

	compactSize = 32 // of a compact inode
)

// victim returns an image to spoil: all inodes are compact, /d is a directory with
// a file, /f a file with content, /l a symlink, /x a file with xattrs. The last two
// blocks are nobody's.
func victim(t testing.TB) []byte {
	t.Helper()
	b := write(t, parse(t, []byte(`/ 0 40755 2 0 0 0 0.0 - - -
/d 0 40755 2 0 0 0 0.0 - - -
/d/inner 0 100644 1 0 0 0 0.0 - - -
/e 0 40755 2 0 0 0 0.0 - - -
/f 5 100644 1 0 0 0 0.0 - hello -
/l 3 120777 1 0 0 0 0.0 abc - -
/o 9 100644 1 0 0 0 0.0 p - 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
/s 0 100644 1 0 0 0 0.0 - - - user.shared=1
/x 0 100644 1 0 0 0 0.0 - - - user.own=1 user.shared=1
`)), erofs.V0)
	b[superAt+36] += 2
	return append(b, make([]byte, 2*4096)...)
}

// rootBlock returns the offset of the root's only directory block.
func rootBlock(image []byte) int { return int(binary.LittleEndian.Uint32(image[rootAt+uAt:])) * 4096 }

// dirent returns the offset of an entry of the root.
func dirent(t testing.TB, image []byte, name string) int {
	t.Helper()
	block := rootBlock(image)
	b := image[block : block+4096]
	for d := 0; d < int(binary.LittleEndian.Uint16(b[8:])); d += 12 {
		if start := int(binary.LittleEndian.Uint16(b[d+8:])); strings.HasPrefix(string(b[start:]), name) {
			return block + d
		}
	}
	t.Fatalf("no entry %s", name)
	return 0
}

// inodeAt returns the offset of the inode of an entry of the root.
func inodeAt(t testing.TB, image []byte, name string) int {
	t.Helper()
	return 32 * int(binary.LittleEndian.Uint64(image[dirent(t, image, name):]))
}

func put16(b []byte, v int)    { binary.LittleEndian.PutUint16(b, uint16(v)) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// Each fault is found and named.
func TestCorruptImagesAreRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, b []byte)
		want  string
		cause error
	}{
		{"EROFS magic", func(t *testing.T, b []byte) { b[superAt]++ }, "want magic 0xe0f5e1e2", erofs.ErrCorrupt},
		{"block size", func(t *testing.T, b []byte) { b[superAt+12] = 9 }, "block size", erofs.ErrUnsupported},
		{"compressed", func(t *testing.T, b []byte) { b[superAt+80] = 1 }, "features", erofs.ErrUnsupported},
		{"devices", func(t *testing.T, b []byte) { b[superAt+86] = 1 }, "leaves zero", erofs.ErrUnsupported},
		{"inodes elsewhere", func(t *testing.T, b []byte) { b[superAt+40] = 1 }, "inodes from block 1", erofs.ErrUnsupported},
		{"more blocks than file", func(t *testing.T, b []byte) { b[superAt+36]++ }, "found a file of", erofs.ErrCorrupt},
		{"shared xattrs beyond the end", func(t *testing.T, b []byte) { b[superAt+44] = 99 }, "shared xattrs", erofs.ErrCorrupt},
		{"root beyond the end", func(t *testing.T, b []byte) { put16(b[superAt+14:], 0xffff) }, "inode 65535 at 0x1fffe0: number beyond", erofs.ErrCorrupt},
		{"root is no directory", func(t *testing.T, b []byte) { put16(b[rootAt+modeAt:], 0o120777) }, "the root is not a directory", erofs.ErrCorrupt},
		{"mode without type", func(t *testing.T, b []byte) { put16(b[inodeAt(t, b, "f")+modeAt:], 0o644) }, "has no file type", erofs.ErrCorrupt},
		{"unknown layout", func(t *testing.T, b []byte) { b[inodeAt(t, b, "f")+layout] = 3 << 1 }, "data layout 3", erofs.ErrUnsupported},
		{"directory of chunks", func(t *testing.T, b []byte) { b[inodeAt(t, b, "d")+layout] = 4 << 1 }, "data layout 4", erofs.ErrUnsupported},
		{"directory in itself", func(t *testing.T, b []byte) { copy(b[dirent(t, b, "d"):], b[dirent(t, b, "."):][:8]) }, `"d" leads to a directory that is elsewhere too`, erofs.ErrCorrupt},
		{"directory in two places", func(t *testing.T, b []byte) { copy(b[dirent(t, b, "e"):], b[dirent(t, b, "d"):][:8]) }, `"e" leads to a directory that is elsewhere too`, erofs.ErrCorrupt},
		{"directory with the root's block", func(t *testing.T, b []byte) {
			at := inodeAt(t, b, "d")
			b[at+layout] = 0
			copy(b[at+sizeAt:], b[rootAt+sizeAt:][:12])
		}, "or another inode's too", erofs.ErrCorrupt},
		{"dot leads elsewhere", func(t *testing.T, b []byte) { b[dirent(t, b, ".")]++ }, `directory entry ".": want inode 36`, erofs.ErrCorrupt},
		{"dot dot leads elsewhere", func(t *testing.T, b []byte) { b[dirent(t, b, ".")+12]++ }, `directory entry "..": want inode 36`, erofs.ErrCorrupt},
		{"entry of another type", func(t *testing.T, b []byte) { b[dirent(t, b, "f")+10] = 7 }, `"f" has another type`, erofs.ErrCorrupt},
		{"names start too late", func(t *testing.T, b []byte) { put16(b[rootBlock(b)+8:], 60000) }, "names can't start at 60000", erofs.ErrCorrupt},
		{"names start oddly", func(t *testing.T, b []byte) { put16(b[rootBlock(b)+8:], 13) }, "names can't start at 13", erofs.ErrCorrupt},
		{"name outside", func(t *testing.T, b []byte) { put16(b[dirent(t, b, "f")+8:], 5000) }, "name outside of the block", erofs.ErrCorrupt},
		{"names out of order", func(t *testing.T, b []byte) {
			b[rootBlock(b)+int(binary.LittleEndian.Uint16(b[dirent(t, b, "f")+8:]))] = '!'
		}, "not in order", erofs.ErrCorrupt},
		{"slash in a name", func(t *testing.T, b []byte) {
			b[rootBlock(b)+int(binary.LittleEndian.Uint16(b[dirent(t, b, "00")+8:]))-1] = '/'
		}, "", erofs.ErrCorrupt},
		{"huge directory", func(t *testing.T, b []byte) { put32(b[rootAt+sizeAt:], 0xffffffff) }, "its data is missing", erofs.ErrCorrupt},
		{"empty directory block", func(t *testing.T, b []byte) { put32(b[inodeAt(t, b, "d")+sizeAt:], 5) }, "too short", erofs.ErrCorrupt},
		{"content too long", func(t *testing.T, b []byte) {
			at := inodeAt(t, b, "f")
			b[at+layout] = 0
			put32(b[at+sizeAt:], 5001)
			put32(b[at+uAt:], uint32(len(b)/4096-2))
		}, "content: want at most 5000 bytes", erofs.ErrUnsupported},
		{"tail into the next inode", func(t *testing.T, b []byte) { put32(b[inodeAt(t, b, "f")+sizeAt:], 100) }, "overlaps with another inode", erofs.ErrCorrupt},
		{"symlink without target", func(t *testing.T, b []byte) { put32(b[inodeAt(t, b, "l")+sizeAt:], 0) }, "symlink target is empty", erofs.ErrCorrupt},
		{"NUL in a target", func(t *testing.T, b []byte) { b[inodeAt(t, b, "l")+32+1] = 0 }, "symlink target is empty or has a NUL", erofs.ErrCorrupt},
		{"target beyond the end", func(t *testing.T, b []byte) {
			at := inodeAt(t, b, "l")
			b[at+layout] = 0
			put32(b[at+uAt:], 0xfffffff0)
		}, "its data is missing", erofs.ErrCorrupt},
		{"too many shared xattrs", func(t *testing.T, b []byte) { b[inodeAt(t, b, "x")+32+4] = 200 }, "200 shared extended attributes", erofs.ErrCorrupt},
		{"shared xattr beyond the end", func(t *testing.T, b []byte) { put32(b[inodeAt(t, b, "x")+32+12:], 0xffffffff) }, "shared extended attribute", erofs.ErrCorrupt},
		{"xattr value too long", func(t *testing.T, b []byte) { put16(b[inodeAt(t, b, "x")+32+12+4+2:], 999) }, "entry is cut off", erofs.ErrCorrupt},
		{"xattr of unknown index", func(t *testing.T, b []byte) { b[inodeAt(t, b, "x")+32+12+4+1] = 7 }, "name index 7", erofs.ErrUnsupported},
		{"NUL in an xattr's name", func(t *testing.T, b []byte) { b[inodeAt(t, b, "x")+32+12+4+4] = 0 }, "extended attribute: name", erofs.ErrCorrupt},
		{"xattrs beyond the end", func(t *testing.T, b []byte) { put16(b[inodeAt(t, b, "x")+2:], 0xffff) }, "overlaps with another inode", erofs.ErrCorrupt},
		{"metacopy of another length", func(t *testing.T, b []byte) { b[inodeAt(t, b, "o")+32+12+4+16+1]-- }, "malformed trusted.overlay.metacopy", erofs.ErrCorrupt},
		{"metacopy of unknown algorithm", func(t *testing.T, b []byte) { b[inodeAt(t, b, "o")+32+12+4+16+3] = 3 }, "unknown fs-verity algorithm", erofs.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := victim(t)
			at := faultAt(t, tt.name, b)
			tt.spoil(t, b)
			m, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
			if err == nil {
				_, err = m.Tree()
			}
			var where *erofs.FormatError
			if !errors.Is(err, tt.cause) || !errors.As(err, &where) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("want a FormatError of %v with %q, found %v", tt.cause, tt.want, err)
			}
			if where.Offset != int64(at) {
				t.Errorf("want the offset %#x, found: %v", at, err)
			}
		})
	}
}

// faultAt returns at which offset a row of TestCorruptImagesAreRefused must be found
// at fault, from the good image.
func faultAt(t *testing.T, name string, b []byte) int {
	t.Helper()
	inode := func(name string) int { return inodeAt(t, b, name) }
	entry := func(name string) int { return dirent(t, b, name) }
	const ownEntry = compactSize + 12 + 4 // behind the header and the id of a shared one
	places := map[string]int{
		"root beyond the end": 0xffff * 32, "root is no directory": rootAt,
		"mode without type": inode("f"), "unknown layout": inode("f"), "content too long": inode("f"), "tail into the next inode": inode("f0"),
		"directory of chunks": inode("d"), "empty directory block": inode("d") + compactSize,
		"directory in itself": entry("d"), "directory in two places": entry("e"), "entry of another type": entry("f"), "names out of order": entry("f"),
		"name outside": entry("f") - 12, "dot leads elsewhere": entry("."), "dot dot leads elsewhere": entry(".") + 12, "slash in a name": entry(".") + 12,
		"names start too late": rootBlock(b), "names start oddly": rootBlock(b), "huge directory": rootBlock(b), "directory with the root's block": rootBlock(b),
		"symlink without target": inode("l") + compactSize, "NUL in a target": inode("l") + compactSize, "target beyond the end": 0xfffffff0 * 4096,
		"xattrs beyond the end": inode("x"), "too many shared xattrs": inode("x") + compactSize,
		"xattr value too long": inode("x") + ownEntry, "xattr of unknown index": inode("x") + ownEntry, "NUL in an xattr's name": inode("x") + ownEntry,
		"shared xattr beyond the end":   int(binary.LittleEndian.Uint32(b[superAt+44:]))*4096 + 4*0xffffffff,
		"metacopy of another length":    inode("o") + compactSize,
		"metacopy of unknown algorithm": inode("o") + compactSize,
	}
	if at, ok := places[name]; ok {
		return at
	}
	return superAt
}

// No single byte makes the reader panic or return something that isn't a tree.
func TestEverySingleByteMayBeWrong(t *testing.T) {
	good := victim(t)
	for at := range good {
		if good[at] == 0 && at%7 != 0 { // most zeros are alike
			continue
		}
		for _, x := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(good)
			b[at] ^= x
			m, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
			if err == nil {
				_, err = m.Tree()
			}
			if err != nil {
				checkCause(t, err)
			}
		}
	}
}

func TestTruncatedImagesAreRefused(t *testing.T) {
	good := victim(t)
	for _, n := range []int{0, 31, 32, 1023, 1024, 1151, 1152, 4096, len(good) - 3*4096, len(good) - 1} {
		if _, err := erofs.Open(bytes.NewReader(good[:n]), int64(n)); !errors.Is(err, erofs.ErrCorrupt) {
			t.Errorf("%d bytes: want ErrCorrupt, found %v", n, err)
		}
		// The size is right, but the file has become shorter since.
		m, err := erofs.Open(bytes.NewReader(good[:n]), int64(len(good)))
		if err == nil {
			_, err = m.Tree()
		}
		if !errors.Is(err, erofs.ErrCorrupt) {
			t.Errorf("%d of %d bytes: want ErrCorrupt, found %v", n, len(good), err)
		}
	}
}

// A hole is a file of zeros behind the start of an image.
type hole struct{ start []byte }

func (h hole) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(h.start)) {
		copy(b, h.start[off:])
	}
	return len(b), nil
}

// An image that says of itself that it is 16 GiB with billions of inodes takes
// little memory.
func TestHugeClaimsTakeLittleMemory(t *testing.T) {
	b := victim(t)
	put32(b[superAt+36:], 16<<30/4096)
	binary.LittleEndian.PutUint64(b[superAt+16:], 1<<60)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := erofs.Open(hole{b}, 16<<30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Tree(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("want at most 100 MiB, found %d bytes", used)
	}
	put32(b[superAt+36:], 16<<30/4096+1)
	if _, err := erofs.Open(hole{b}, 32<<30); !errors.Is(err, erofs.ErrUnsupported) {
		t.Errorf("a larger image: want ErrUnsupported, found %v", err)
	}
}

// Many inodes that refer to the same long shared xattrs, each at another place
// within the others, don't make the reader copy them over and over.
func TestOverlappingSharedXattrsAreRefused(t *testing.T) {
	var text strings.Builder
	text.WriteString("/ 0 40755 2 0 0 0 0.0 - - -\n")
	for i := range 100 {
		text.WriteString(fmt.Sprintf("/f%02d 0 100644 1 0 0 0 0.0 - - -", i))
		for k := range 100 {
			fmt.Fprintf(&text, " user.%02d=%030d", k, i%50)
		}
		text.WriteString("\n")
	}
	b := write(t, parse(t, []byte(text.String())), erofs.V0)
	table := int(binary.LittleEndian.Uint32(b[superAt+44:])) * 4096
	for at := table; at+8 < len(b)-4096; at += 4 { // every word starts an entry of 64 KiB
		copy(b[at:], []byte{3, 1, 0x00, 0xf0, 'a', 'b', 'c', 'd'}[:4])
	}
	m := open(t, b)
	if _, err := m.Tree(); !errors.Is(err, erofs.ErrCorrupt) {
		t.Errorf("want ErrCorrupt, found %v", err)
	}
}

func TestReadErrorsComeThrough(t *testing.T) {
	broken := errors.New("broken")
	if _, err := erofs.Open(brokenReader{broken}, 1<<20); !errors.Is(err, broken) {
		t.Errorf("Open: want the reader's error, found %v", err)
	}
	if err := erofs.Write(brokenWriter{broken}, parse(t, []byte("/ 0 40755 2 0 0 0 0.0 - - -\n")), erofs.V0); !errors.Is(err, broken) {
		t.Errorf("Write: want the writer's error, found %v", err)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestTreesWithoutImageAreRefused(t *testing.T) {
	root := "/ 0 40755 2 0 0 0 0.0 - - -\n"
	for _, tt := range []struct{ name, text, want string }{
		{"too many chunks", root + fmt.Sprintf("/f %d 100644 1 0 0 0 0.0 - - -\n", uint64(1024<<43+1)), "file too large"},
		{"xattr accounting of libcomposefs", root + "/d 0 40755 2 0 0 0 0.0 - - - user.overlay.opaque=" + strings.Repeat("x", 500) + "\n/d/w 0 20644 1 0 0 0 0.0 - - -\n", "numerical result out of range"},
	} {
		if err := erofs.Write(io.Discard, parse(t, []byte(tt.text)), erofs.V1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: want %q, found %v", tt.name, tt.want, err)
		}
	}
	cyclic := parse(t, []byte(root+"/d 0 40755 2 0 0 0 0.0 - - -\n"))
	if err := cyclic.Lookup("d").Add("up", cyclic); err != nil {
		t.Fatal(err)
	}
	if err := erofs.Write(io.Discard, cyclic, erofs.V0); err == nil {
		t.Error("a tree with a cycle must be refused")
	}
	big := parse(t, []byte(root+"/f 0 100644 1 0 0 0 0.0 - - -\n"))
	for i := range 5 {
		big.Lookup("f").SetXattr(fmt.Sprint("user.", i), make([]byte, 60000))
	}
	if err := erofs.Write(io.Discard, big, erofs.V0); err == nil || !strings.Contains(err.Error(), "an inode has room for 262148") {
		t.Errorf("300 KB of xattrs: found %v", err)
	}
	if err := erofs.Write(io.Discard, big, erofs.Format(9)); !errors.Is(err, erofs.ErrUnsupported) {
		t.Errorf("an unknown format: want ErrUnsupported, found %v", err)
	}
}
