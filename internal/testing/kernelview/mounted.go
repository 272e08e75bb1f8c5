package kernelview

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mounted returns what root sees below the root of a mounted image.
func Mounted(root *os.File) ([]string, error) {
	m := &mounted{first: make(map[uint64]string), buf: make([]byte, 64<<10)}
	err := m.file("/", int(root.Fd()), "")
	return m.lines, err
}

type mounted struct {
	first map[uint64]string // inode → its first path
	lines []string
	buf   []byte // for attributes and targets
}

// file adds the line of one name in an open directory, and the lines of everything
// below it. An empty name is the directory itself. Paths are relative because they can
// be longer than the kernel accepts.
func (m *mounted) file(path string, dir int, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EACCES) {
		m.lines = append(m.lines, hidden(path))
		return nil
	}
	if err != nil {
		return fmt.Errorf("stat %q: %w", path, err)
	}
	if first, again := m.first[st.Ino]; again {
		m.lines = append(m.lines, fmt.Sprintf("%q: = %q", path, first))
		return nil
	}
	m.first[st.Ino] = path
	place := fmt.Sprintf("/proc/self/fd/%d", dir)
	if name != "" {
		place += "/" + name
	}
	if err := m.describe(path, place, name == "", &st); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if st.Mode&typeMask != typeDir {
		return nil
	}
	return m.directory(path, place)
}

// directory adds the lines of everything in a directory.
func (m *mounted) directory(path, place string) error {
	dir, err := os.Open(place)
	if errors.Is(err, unix.EACCES) {
		m.lines = append(m.lines, hidden(path))
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := m.file(join(path, name), int(dir.Fd()), name); err != nil {
			return err
		}
	}
	return nil
}

// describe adds the line of a file. The place is followed if it is a descriptor.
func (m *mounted) describe(path, place string, follow bool, st *unix.Stat_t) (err error) {
	l := line{
		mode: st.Mode, links: uint64(st.Nlink), uid: st.Uid, gid: st.Gid, sec: int64(st.Mtim.Sec), nsec: int64(st.Mtim.Nsec),
		device: uint64(st.Rdev), size: st.Size,
	}
	if l.xattrs, err = m.xattrs(place, follow, st.Mode); err != nil {
		return fmt.Errorf("extended attributes: %w", err)
	}
	l.external = slices.ContainsFunc(l.xattrs, func(x string) bool { return strings.HasPrefix(x, "trusted.overlay.metacopy=") })
	switch {
	case st.Mode&typeMask == typeSymlink:
		l.content, err = os.Readlink(place)
	case st.Mode&typeMask == typeRegular && !l.external && st.Size > 0:
		var content []byte
		content, err = os.ReadFile(place)
		l.content, l.unreadable = string(content), errors.Is(err, unix.EACCES)
	}
	if err != nil && !l.unreadable {
		return fmt.Errorf("content: %w", err)
	}
	m.lines = append(m.lines, l.text(path))
	return nil
}

func (m *mounted) xattrs(place string, follow bool, mode uint32) ([]string, error) {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	n, err := list(place, m.buf)
	if err != nil || n == 0 {
		return nil, err
	}
	isFile := mode&typeMask == typeRegular || mode&typeMask == typeDir
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(m.buf[:n]), "\x00"), "\x00") {
		n, err := get(place, name, m.buf)
		if err != nil || strings.HasPrefix(name, "user.") && !isFile {
			all = append(all, name) // newer kernels show the values of sockets too
			continue
		}
		all = append(all, fmt.Sprintf("%s=%q", name, m.buf[:n]))
	}
	return all, nil
}
