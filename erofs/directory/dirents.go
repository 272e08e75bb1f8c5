package directory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// A dirent is one name in a directory.
type dirent struct {
	name string
	kind uint32 // S_IFMT bits of st_mode
}

// direntsSize is the size in bytes of the buffer for a directory's names.
const direntsSize = 32 << 10

// readDirents appends the names in the open directory fd to list, sorted and without the
// dots. text converts a name to a string.
func readDirents(list []dirent, fd int, buf []byte, text func([]byte) string) ([]dirent, error) {
	start := len(list)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return list, err
		}
		if n == 0 {
			break
		}
		if list, err = parseDirents(list, fd, buf[:n], text); err != nil {
			return list, err
		}
	}
	slices.SortFunc(list[start:], func(a, b dirent) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// Offsets in the kernel's struct linux_dirent64: of a record's length, its type, and its
// name, which ends with a NUL.
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

func parseDirents(list []dirent, fd int, b []byte, text func([]byte) string) ([]dirent, error) {
	for len(b) > direntName {
		length := int(binary.NativeEndian.Uint16(b[direntLength:]))
		if length <= direntName || length > len(b) {
			return list, unix.EBADMSG
		}
		name, _, _ := bytes.Cut(b[direntName:length], []byte{0})
		kind := uint32(b[direntType]) << 12 // as IFTODT and DTTOIF in dirent.h convert it
		b = b[length:]
		if string(name) == "." || string(name) == ".." {
			continue
		}
		e := dirent{text(name), kind}
		if kind == unix.DT_UNKNOWN {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return list, err
			}
			e.kind = st.Mode & unix.S_IFMT
		}
		list = append(list, e)
	}
	return list, nil
}
