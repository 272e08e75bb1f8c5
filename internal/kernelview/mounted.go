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
	m := &mounted{first: make(map[uint64]string)}
	err := m.file("/", fmt.Sprintf("/proc/self/fd/%d", root.Fd()), 0)
	return m.lines, err
}

type mounted struct {
	first map[uint64]string // inode → its first path
	lines []string
}

// file adds the line of one name, and those below. The place is its path for the
// kernel: whole paths can be longer than that takes, hence it starts at a descriptor.
// flags are those of open that say whether the place is followed.
func (m *mounted) file(path, place string, flags int) error {
	f, err := unix.Open(place, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if errors.Is(err, unix.EACCES) {
		m.lines = append(m.lines, hidden(path))
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	defer unix.Close(f)
	var st unix.Stat_t
	if err := unix.Fstat(f, &st); err != nil {
		return fmt.Errorf("stat %q: %w", path, err)
	}
	if first, again := m.first[st.Ino]; again {
		m.lines = append(m.lines, fmt.Sprintf("%q: = %q", path, first))
		return nil
	}
	m.first[st.Ino] = path
	if err := m.describe(path, f, &st); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if st.Mode&typeMask != typeDir {
		return nil
	}
	return m.directory(path, f)
}

// directory adds what is in an open directory.
func (m *mounted) directory(path string, f int) error {
	dir, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f))
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
		if err := m.file(join(path, name), fmt.Sprintf("/proc/self/fd/%d/%s", f, name), unix.O_NOFOLLOW); err != nil {
			return err
		}
	}
	return nil
}

// describe adds the line of an open file. A descriptor of O_PATH leads to the file
// itself, also if that is a symlink.
func (m *mounted) describe(path string, f int, st *unix.Stat_t) (err error) {
	place := fmt.Sprintf("/proc/self/fd/%d", f)
	l := line{
		mode: st.Mode, links: uint64(st.Nlink), uid: st.Uid, gid: st.Gid, sec: int64(st.Mtim.Sec), nsec: int64(st.Mtim.Nsec),
		device: uint64(st.Rdev), size: st.Size,
	}
	if l.xattrs, err = readXattrs(place, st.Mode); err != nil {
		return fmt.Errorf("extended attributes: %w", err)
	}
	l.external = slices.ContainsFunc(l.xattrs, func(x string) bool { return strings.HasPrefix(x, "trusted.overlay.metacopy=") })
	switch {
	case st.Mode&typeMask == typeSymlink:
		l.content, err = readlink(f)
	case st.Mode&typeMask == typeRegular && !l.external:
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

func readlink(f int) (string, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Readlinkat(f, "", buf)
	return string(buf[:max(n, 0)]), err
}

func readXattrs(place string, mode uint32) ([]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Listxattr(place, buf)
	if err != nil {
		return nil, err
	}
	var list []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Getxattr(place, name, buf)
		isFile := mode&typeMask == typeRegular || mode&typeMask == typeDir
		if err != nil || strings.HasPrefix(name, "user.") && !isFile {
			list = append(list, name) // newer kernels show the values of sockets too
			continue
		}
		list = append(list, fmt.Sprintf("%s=%q", name, buf[:n]))
	}
	return list, nil
}
