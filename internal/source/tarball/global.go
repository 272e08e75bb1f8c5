package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// globals are the pax records that apply to all files after them that have no such records
// of their own (POSIX, pax, "typeflag g"). archive/tar returns them but doesn't apply them.
type globals struct {
	uid, gid *int
	mtime    *time.Time
}

// add adds the records of a global header. Owners and times, which GNU tar can write, are
// applied; other records that would change files are an error. The rest, such as comments
// and labels of the archive, is ignored.
func (g *globals) add(records map[string]string) (err error) {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		value := records[key]
		switch key {
		case "uid":
			g.uid, err = globalNumber(value)
		case "gid":
			g.gid, err = globalNumber(value)
		case "mtime":
			g.mtime, err = globalTime(value)
		default:
			if changesFiles(key) {
				err = errors.New("only uid, gid and mtime are supported: want it in the headers of the files")
			}
		}
		if err != nil {
			return fmt.Errorf("a global header with %s: %w", key, err)
		}
	}
	return nil
}

// changesFiles reports whether a record would change a file.
func changesFiles(key string) bool {
	if key == "path" || key == "linkpath" || key == "size" || strings.HasPrefix(key, "GNU.sparse.") || strings.HasPrefix(key, paxXattr) || strings.HasPrefix(key, libarchiveXattr) {
		return true
	}
	for _, t := range translations {
		if key == t.key {
			return true
		}
	}
	return false
}

// apply applies the records to the header of a file that has none of its own.
func (g *globals) apply(hdr *tar.Header) {
	has := func(key string) bool { return hdr.PAXRecords[key] != "" }
	if g.uid != nil && !has("uid") {
		hdr.Uid = *g.uid
	}
	if g.gid != nil && !has("gid") {
		hdr.Gid = *g.gid
	}
	if g.mtime != nil && !has("mtime") {
		hdr.ModTime = *g.mtime
	}
}

// globalNumber parses an owner; an empty value removes an earlier one.
func globalNumber(value string) (*int, error) {
	if value == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("want a number below 2^32, found %.40q", value)
	}
	id := int(n)
	return &id, nil
}

// globalTime parses seconds since 1970, with a fraction down to nanoseconds.
func globalTime(value string) (*time.Time, error) {
	if value == "" {
		return nil, nil
	}
	bad := fmt.Errorf("want seconds since 1970, found %.40q", value)
	whole, fraction, _ := strings.Cut(value, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return nil, bad
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return nil, bad
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	t := time.Unix(sec, nsec)
	return &t, nil
}
