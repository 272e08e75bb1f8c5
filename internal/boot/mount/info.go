package mount

import (
	"fmt"
	"strings"
)

// An Info is what the kernel says of one mount. Texts are as it writes them: space, tab,
// line feed and backslash as a backslash and three octal digits, everything else as it is.
type Info struct {
	ID, Parent   string // numbers
	Root         string // directory of the file system that is mounted
	At           string // where
	Options      string // of the mount, with commas between them
	Type, Source string // of the file system
	Super        string // options of the file system
}

// ParseInfo reads mountinfo. Nothing but a single space separates its fields: other
// white space, that of Unicode too, is a part of them. A line that isn't understood is
// an error: it could be about any mount.
//
// Format: proc_pid_mountinfo(5).
func ParseInfo(text string) ([]Info, error) {
	var all []Info
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		left, right := strings.Split(before, " "), strings.SplitN(after, " ", 3)
		if !ok || len(left) < 6 || len(right) < 3 {
			return nil, fmt.Errorf("line %d of mountinfo isn't understood: %.100q", len(all)+1, line)
		}
		all = append(all, Info{left[0], left[1], left[3], left[4], left[5], right[0], right[1], right[2]})
	}
	return all, nil
}
