package disk

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// deviceNames are the names that devices had in DOS. Linux and Windows allow no file
// of these names on FAT, with any suffix.
var deviceNames = []string{
	"con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}

// checkFATName refuses a name that FAT can't hold, or that would become another one. Long
// names may have more than ASCII, but mtools writes short ones where it can, and their
// letters depend on the code page of the reader.
func checkFATName(name string) error {
	stem, _, _ := strings.Cut(name, ".")
	notFAT := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"*?:<>|\[]`, r) }
	switch i := strings.IndexFunc(name, notFAT); {
	case i >= 0:
		return fmt.Errorf(`%w: FAT does not allow the character %q in the name %q; want ASCII without "*?:<>|\[]`, ErrEntry, []rune(name[i:])[0], name)
	case strings.HasSuffix(name, ".") || strings.Trim(name, " ") != name:
		return fmt.Errorf("%w: FAT does not keep the dot or space at the end of the name %q", ErrEntry, name)
	case slices.Contains(deviceNames, strings.ToLower(stem)):
		return fmt.Errorf("%w: FAT does not allow the name %q: DOS has a device of that name", ErrEntry, name)
	}
	return nil
}

// completeESP is complete for FAT, where names that differ in case are one: a
// directory gets the spelling that comes first, and two files are an error.
func completeESP(entries []Entry) ([]Entry, error) {
	spelling := map[string]string{} // of paths, by lower case
	files := map[string]string{}
	out := slices.Clone(entries)
	for i, e := range out {
		if err := e.check(); err != nil {
			return nil, err
		}
		if e.Mode.Type() == fs.ModeSymlink {
			return nil, fmt.Errorf("%w: %q: FAT has no symlinks", ErrEntry, e.Path)
		}
		at := ""
		for part := range strings.SplitSeq(e.Path, "/") {
			if err := checkFATName(part); err != nil {
				return nil, err
			}
			at = path.Join(at, part)
			if first, ok := spelling[strings.ToLower(at)]; ok {
				at = first
			} else {
				spelling[strings.ToLower(at)] = at
			}
		}
		if !e.Mode.IsDir() {
			if other, ok := files[at]; ok {
				return nil, fmt.Errorf("%w: %q and %q are one file on FAT: it is there twice", ErrEntry, other, e.Path)
			}
			files[at] = e.Path
		}
		out[i].Path = at
	}
	return complete(out)
}

// checkESP checks that the file system has the names that it should have.
func (w *writer) checkESP(ctx context.Context, epoch int64, where string) error {
	if len(w.ESP) == 0 {
		return nil
	}
	listing, _, err := w.tools(epoch).Run(ctx, maxPrinted, nil, "mdir", "-i", where, "-b", "-/", "::")
	if err != nil {
		return err
	}
	var want, found []string
	for _, e := range w.ESP {
		want = append(want, e.Path)
	}
	for line := range strings.Lines(string(listing)) {
		if name, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "::/"); ok {
			found = append(found, strings.TrimSuffix(name, "/"))
		}
	}
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(want, found) {
		return fmt.Errorf("%w: FAT would have the files %q in the place of %q", ErrEntry, found, want)
	}
	return nil
}
