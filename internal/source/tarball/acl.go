package tarball

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An aclEntry is struct posix_acl_xattr_entry. A list of them follows the version, 2
// as a little-endian 32-bit number, in system.posix_acl_access and _default.
//
//	0     2      4        8
//	+-----+------+--------+
//	| tag | perm |   id   |
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// aclTags maps the type of an entry to its tags: without a name (the owner), and with a
// name or number. Tags have the same order in the attribute.
var aclTags = map[string]struct{ own, named uint16 }{
	"user": {0x01, 0x02}, "group": {0x04, 0x08}, "mask": {own: 0x10}, "other": {own: 0x20},
}

const (
	aclVersion = 2
	aclNoID    = 0xffffffff
)

// accessACL is parseACL for the ACL of the file itself. If it says no more than the
// permission bits, the file has no such attribute.
func accessACL(text string) (string, error) {
	value, err := parseACL(text)
	if len(value) <= 4+3*8 {
		return "", err
	}
	return value, err
}

// parseACL converts an ACL in star's text form to the attribute. Its entries, such as
// user:1000:r-x or user:joe:r-x:1000, are separated by commas or newlines.
func parseACL(text string) (string, error) {
	var list []aclEntry
	for item := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		item, _, _ = strings.Cut(item, "#")
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		e, err := parseACLEntry(item)
		if err != nil {
			return "", fmt.Errorf("%.100q: %w", item, err)
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return "", nil
	}
	slices.SortFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	value := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for i, e := range list {
		if i > 0 && e.tag == list[i-1].tag && e.id == list[i-1].id {
			return "", errors.New("two entries for the same user or group")
		}
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, e.perm)
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return string(value), nil
}

func parseACLEntry(item string) (aclEntry, error) {
	fields := strings.Split(item, ":")
	tags, ok := aclTags[fields[0]]
	if !ok || len(fields) < 3 || len(fields) > 4 {
		return aclEntry{}, errors.New("want user, group, mask or other, a name or nothing, and rwx")
	}
	e := aclEntry{tag: tags.own, id: aclNoID}
	if who := fields[1]; who != "" {
		if e.tag = tags.named; e.tag == 0 {
			return e, fmt.Errorf("%s has no names", fields[0])
		}
		number := who
		if len(fields) == 4 {
			number = fields[3]
		}
		id, err := strconv.ParseUint(number, 10, 32)
		if err != nil || id == aclNoID {
			return e, &NoNumberError{who}
		}
		e.id = uint32(id)
	}
	perm, err := parsePerm(fields[2])
	e.perm = perm
	return e, err
}

func parsePerm(text string) (uint16, error) {
	if len(text) != 3 {
		return 0, fmt.Errorf("want three letters like r-x, found %q", text)
	}
	var perm uint16
	for i, letter := range [...]byte{'r', 'w', 'x'} {
		switch text[i] {
		case letter:
			perm |= 4 >> i
		case '-':
		default:
			return 0, fmt.Errorf("want three letters like r-x, found %q", text)
		}
	}
	return perm, nil
}
