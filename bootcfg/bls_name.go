package bootcfg

import (
	"fmt"
	"strconv"
	"strings"
)

// An EntryName has the parts of the file name of a boot loader entry or UKI:
//
//	debian-42+3-1.conf
//	^ID       ^ ^ ^Ext
//	          | Done: tries made and failed
//	          Left: tries left; at 0 the entry is bad and comes last in the menu
//
// An entry without counters is known to be good, or isn't counted.
//
// Format: Automatic Boot Assessment of systemd.
type EntryName struct {
	ID         string
	Counted    bool
	Left, Done uint
	Ext        string // ".conf" or ".efi"
}

// maxTries is what a counter may be. Boot loaders keep the number of digits
// when they count down, and have room for few.
const maxTries = 9999

// ParseEntryName parses a file name. A "+" that isn't followed by counters is a part of
// the ID.
func ParseEntryName(name string) (EntryName, error) {
	n := EntryName{}
	for _, n.Ext = range []string{".conf", ".efi"} {
		if stem, ok := strings.CutSuffix(name, n.Ext); ok {
			n.ID = stem
			break
		}
	}
	if n.ID == "" {
		return EntryName{}, fmt.Errorf("%w: want the name of a .conf or .efi file, found %q", ErrEntry, name)
	}
	if i := strings.LastIndexByte(n.ID, '+'); i > 0 {
		left, done, both := strings.Cut(n.ID[i+1:], "-")
		l, okLeft := parseTries(left)
		d, okDone := parseTries(done)
		if okLeft && (okDone || !both) {
			n.ID, n.Counted, n.Left, n.Done = n.ID[:i], true, l, d
		}
	}
	return n, n.check()
}

// parseTries reads a counter.
func parseTries(s string) (uint, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint(n), err == nil && n <= maxTries
}

func (n EntryName) check() error {
	if n.ID == "" || n.ID[0] == '.' || strings.ContainsFunc(n.ID, notNameRune) {
		return fmt.Errorf("%w: want a name of letters, digits and +-_.~, found %q", ErrEntry, n.ID)
	}
	return nil
}

func notNameRune(r rune) bool {
	return !strings.ContainsRune("+-_.~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// String returns the file name.
func (n EntryName) String() string {
	switch {
	case !n.Counted:
		return n.ID + n.Ext
	case n.Done == 0:
		return fmt.Sprintf("%s+%d%s", n.ID, n.Left, n.Ext)
	}
	return fmt.Sprintf("%s+%d-%d%s", n.ID, n.Left, n.Done, n.Ext)
}

// Bad reports whether the entry has used up its tries.
func (n EntryName) Bad() bool { return n.Counted && n.Left == 0 }
