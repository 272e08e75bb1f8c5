package kernelview

import (
	"fmt"
	"slices"
	"strings"
)

// A line is what there is to say of a file.
type line struct {
	mode       uint32 // with the file type
	links      uint64
	uid, gid   uint32
	sec, nsec  int64
	device     uint64 // 0 but for devices
	size       int64  // of regular files and symlinks
	content    string // of these; not of what lies outside of the image
	external   bool
	unreadable bool // content that one may not see
	xattrs     []string
}

// hidden is the line of what one may not see, or not look into.
func hidden(path string) string { return fmt.Sprintf("%q: no permission", path) }

// join appends a name to the path of a directory.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

const (
	typeMask    = 0o170000
	typeRegular = 0o100000
	typeDir     = 0o040000
	typeSymlink = 0o120000
)

func (l *line) text(path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q: mode %o links %d owner %d:%d time %d.%d", path, l.mode, l.links, l.uid, l.gid, l.sec, l.nsec)
	if l.device != 0 {
		fmt.Fprintf(&b, " device %#x", l.device)
	}
	if t := l.mode & typeMask; t == typeRegular || t == typeSymlink {
		fmt.Fprintf(&b, " size %d", l.size)
	}
	switch {
	case l.external:
	case l.unreadable:
		b.WriteString(" no permission")
	case l.content != "":
		fmt.Fprintf(&b, " content %q", l.content)
	}
	slices.Sort(l.xattrs)
	for _, x := range l.xattrs {
		b.WriteString(" " + x)
	}
	return b.String()
}

// FirstDifference says in which line two lists differ first, and what is there; it is
// empty if they don't. Of long lines it has what surrounds the difference.
func FirstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		w, g := at(want, i), at(got, i)
		if w == g {
			continue
		}
		same := 0
		for same < min(len(w), len(g)) && w[same] == g[same] {
			same++
		}
		return fmt.Sprintf("line %d, at %d: want %s, found %s", i+1, same, around(w, same), around(g, same))
	}
	return ""
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// around returns the start of a line and what is near a place in it.
func around(s string, place int) string {
	const head, before, after = 60, 40, 100
	if place-before <= head {
		return s[:min(len(s), place+after)]
	}
	return s[:head] + " … " + s[place-before:min(len(s), place+after)]
}
