package disk

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// entryMax bounds the size of a boot loader entry in bytes.
const entryMax = 1 << 20

// A BootEntryError says why a boot loader entry on an EFI system partition can't boot: it
// names a file that isn't there, has no initrd, or is malformed.
type BootEntryError struct {
	Entry        string // its path
	Key, Missing string // a file that it names and that isn't there
	Err          error  // why it can't be read; without it and Key it has no initrd
}

func (e *BootEntryError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Entry, e.Err)
	case e.Key != "":
		return fmt.Sprintf("%s: %s names %s, which isn't on the EFI system partition", e.Entry, e.Key, e.Missing)
	}
	return e.Entry + ": the entry has no initrd, so nothing will verify and mount the image"
}

// CheckBootEntries returns why boot loader entries can't boot. The disk can be made
// nevertheless: they may be meant to be replaced.
func CheckBootEntries(esp []Entry) (problems []*BootEntryError, err error) {
	for _, e := range esp {
		name := strings.ToLower(e.Path)
		if path.Dir(name) != "loader/entries" || path.Ext(name) != ".conf" {
			continue
		}
		entry, err := readBootEntry(e)
		if errors.Is(err, bootcfg.ErrEntry) {
			problems = append(problems, &BootEntryError{Entry: e.Path, Err: err})
			continue
		}
		if err != nil {
			return nil, err
		}
		problems = append(problems, checkBootEntry(e.Path, entry, esp)...)
	}
	return problems, nil
}

func readBootEntry(e Entry) (bootcfg.Entry, error) {
	r, err := e.Open()
	if err != nil {
		return bootcfg.Entry{}, err
	}
	defer r.Close()
	return bootcfg.ParseEntry(io.LimitReader(r, entryMax))
}

// checkBootEntry finds files that an entry names and that aren't there, and a kernel
// without an initrd to verify the image.
func checkBootEntry(at string, entry bootcfg.Entry, esp []Entry) (problems []*BootEntryError) {
	for _, key := range []string{bootcfg.EntryLinux, bootcfg.EntryInitrd, "efi", "uki"} {
		for _, name := range entry.All(key) {
			there := slices.ContainsFunc(esp, func(e Entry) bool {
				return strings.EqualFold(e.Path, strings.TrimPrefix(path.Clean("/"+name), "/"))
			})
			if !there {
				problems = append(problems, &BootEntryError{Entry: at, Key: key, Missing: name})
			}
		}
	}
	_, linux := entry.Get(bootcfg.EntryLinux)
	_, initrd := entry.Get(bootcfg.EntryInitrd)
	if linux && !initrd && !strings.Contains(entry.Options(), "initrd=") {
		problems = append(problems, &BootEntryError{Entry: at})
	}
	return problems
}
