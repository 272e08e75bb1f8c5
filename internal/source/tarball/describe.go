package tarball

import (
	"archive/tar"
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// describe makes the node for a header, without its content.
func (b *Builder) describe(hdr *tar.Header, kind tree.Kind) (*tree.Node, error) {
	n := b.arena.Node()
	n.Kind, n.Perm, n.Nlink = kind, uint16(hdr.Mode&0o7777), 1
	if !fits(hdr.Uid) || !fits(hdr.Gid) {
		return nil, fmt.Errorf("owner %d:%d: want numbers from 0 to %d", hdr.Uid, hdr.Gid, uint32(math.MaxUint32))
	}
	n.UID, n.GID = uint32(hdr.Uid), uint32(hdr.Gid)
	if !b.opts.UseEpoch {
		n.Mtime = tree.Time{Sec: hdr.ModTime.Unix(), Nsec: uint32(hdr.ModTime.Nanosecond())}
	}
	switch kind {
	case tree.Regular:
		n.Size = uint64(hdr.Size)
	case tree.Symlink:
		if len(hdr.Linkname) < 1 || len(hdr.Linkname) > tree.TargetMax {
			return nil, fmt.Errorf("symlink target: want 1 to %d bytes, found %d", tree.TargetMax, len(hdr.Linkname))
		}
		n.Target, n.Size = b.arena.String([]byte(hdr.Linkname)), uint64(len(hdr.Linkname))
	case tree.CharDevice, tree.BlockDevice:
		rdev, err := deviceNumber(hdr.Devmajor, hdr.Devminor)
		if err != nil {
			return nil, err
		}
		n.Rdev = rdev
	}
	return n, b.attributes(n, hdr.PAXRecords)
}

func fits(id int) bool { return id >= 0 && uint64(id) <= math.MaxUint32 }

// deviceNumber returns the kernel's 32-bit encoding: the upper 12 bits of the minor number,
// 12 bits of the major, and the lower 8 bits of the minor.
func deviceNumber(major, minor int64) (uint32, error) {
	if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 {
		return 0, fmt.Errorf("device %d:%d: want at most 4095:1048575", major, minor)
	}
	return uint32(minor)&0xff | uint32(major)<<8 | uint32(minor)&^0xff<<12, nil
}

// Prefixes of the pax keys of extended attributes. star, GNU tar and most other programs
// store the value as it is; libarchive stores it in base64, and by default in the other
// form as well.
const (
	paxXattr        = "SCHILY.xattr."
	libarchiveXattr = "LIBARCHIVE.xattr."
)

// unescape undoes GNU tar's escapes for names that pax headers can't hold.
var unescape = strings.NewReplacer("%3D", "=", "%25", "%")

// attributes adds the extended attributes of a header's pax records.
func (b *Builder) attributes(n *tree.Node, records map[string]string) error {
	if b.opts.SkipXattrs || len(records) == 0 {
		return nil
	}
	b.xattrs = b.xattrs[:0]
	for key, value := range records {
		if name, ok := strings.CutPrefix(key, paxXattr); ok {
			if err := b.attribute(attributeName(records, name), value); err != nil {
				return err
			}
		}
	}
	if err := b.libarchive(records); err != nil {
		return err
	}
	if err := b.translate(records); err != nil {
		return err
	}
	if len(b.xattrs) == 0 {
		return nil
	}
	n.SetXattrs(append(b.arena.Xattrs(len(b.xattrs)), b.xattrs...))
	for i, x := range n.Xattrs()[1:] {
		if x.Name == n.Xattrs()[i].Name {
			return fmt.Errorf("extended attribute %q is there twice", x.Name)
		}
	}
	return nil
}

// attributeName undoes the escapes in the name of an extended attribute. GNU tar escapes =
// and % as URLs do; libarchive also escapes unprintable characters, and has a second record
// for each attribute.
func attributeName(records map[string]string, name string) string {
	if _, ok := records[libarchiveXattr+name]; ok {
		if plain, err := url.PathUnescape(name); err == nil {
			return plain
		}
	}
	return unescape.Replace(name)
}

// libarchive adds the attributes that are only present in libarchive's form. If both forms
// are present, the other one counts, as it is the only one that other programs read.
func (b *Builder) libarchive(records map[string]string) error {
	var plain map[string]struct{} // names of the attributes in the other form, once needed
	for key, text := range records {
		escaped, ok := strings.CutPrefix(key, libarchiveXattr)
		if _, both := records[paxXattr+escaped]; !ok || both {
			continue
		}
		name, err := url.PathUnescape(escaped)
		if err != nil {
			return fmt.Errorf("%.300s: %w", key, err)
		}
		if plain == nil {
			plain = make(map[string]struct{}, len(b.xattrs))
			for _, x := range b.xattrs {
				plain[x.Name] = struct{}{}
			}
		}
		if _, both := plain[name]; both {
			continue
		}
		value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			return fmt.Errorf("%.300s: want base64: %w", key, err)
		}
		if err := b.attribute(name, string(value)); err != nil {
			return err
		}
	}
	return nil
}

// attribute adds an attribute to the current entry, unless it is left out.
func (b *Builder) attribute(name, value string) error {
	if b.opts.UserXattrs && !strings.HasPrefix(name, "user.") {
		return nil
	}
	if name == "" || len(name) > tree.XattrNameMax || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("extended attribute %.300q: want a name of 1 to %d bytes, without NUL", name, tree.XattrNameMax)
	}
	if len(value) > tree.XattrValueMax {
		return fmt.Errorf("extended attribute %q: want at most %d bytes, found %d", name, tree.XattrValueMax, len(value))
	}
	b.kept += attributeBytes + len(name) + len(value)
	b.xattrs = append(b.xattrs, tree.Xattr{Name: b.arena.Name([]byte(name)), Value: b.arena.Value([]byte(value))})
	return nil
}

// translations are the attributes that archives also store in another form.
var translations = []struct {
	key, name string
	translate func(string) (string, error)
}{
	{"RHT.security.selinux", "security.selinux", func(label string) (string, error) { return label + "\x00", nil }},
	{"SCHILY.acl.access", "system.posix_acl_access", accessACL},
	{"SCHILY.acl.default", "system.posix_acl_default", parseACL},
}

// translate adds the attributes that are only present in another form.
func (b *Builder) translate(records map[string]string) error {
	for _, t := range translations {
		text, ok := records[t.key]
		own := slices.ContainsFunc(b.xattrs, func(x tree.Xattr) bool { return x.Name == t.name })
		if !ok || own || b.opts.UserXattrs {
			continue
		}
		value, err := t.translate(text)
		if err != nil {
			return fmt.Errorf("%s: %w", t.key, err)
		}
		if value == "" {
			continue
		}
		if err := b.attribute(t.name, value); err != nil {
			return err
		}
	}
	return nil
}
