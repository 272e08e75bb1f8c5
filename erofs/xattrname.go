package erofs

import "strings"

// Names that have a meaning here. Those of overlayfs say where content lies and
// what is deleted; an image stores the ones that its tree has escaped, as
// overlayfs itself does, so that they come out again at the mount.
const (
	overlayPrefix        = "trusted.overlay."
	overlayEscapedPrefix = "trusted.overlay.overlay."

	nameMetacopy = "trusted.overlay.metacopy"
	nameRedirect = "trusted.overlay.redirect"
	nameOpaque   = "trusted.overlay.opaque"

	nameEscapedWhiteout  = "trusted.overlay.overlay.whiteout"
	nameEscapedWhiteouts = "trusted.overlay.overlay.whiteouts"
	nameEscapedOpaque    = "trusted.overlay.overlay.opaque"
	nameUserWhiteout     = "user.overlay.whiteout"
	nameUserWhiteouts    = "user.overlay.whiteouts"
	nameUserOpaque       = "user.overlay.opaque"

	nameSELinux    = "security.selinux"
	nameACLAccess  = "system.posix_acl_access"
	nameACLDefault = "system.posix_acl_default"
)

// escapeName returns the name under which an image stores an xattr.
func escapeName(name string) string {
	if rest, ok := strings.CutPrefix(name, overlayPrefix); ok {
		return overlayEscapedPrefix + rest
	}
	return name
}

// xattrPrefixes are the prefixes that an index stands for. Readers know all.
var xattrPrefixes = [...]string{
	0: "", 1: "user.", 2: nameACLAccess, 3: nameACLDefault, 4: "trusted.", 5: "lustre.", 6: "security.",
}

// splitName takes a name apart: the index of the prefix that fits, out of those
// of the given indexes, and the rest. None starts with another one.
func splitName(name string, prefixes []uint8) (index uint8, suffix string) {
	for _, i := range prefixes {
		if rest, ok := strings.CutPrefix(name, xattrPrefixes[i]); ok {
			return i, rest
		}
	}
	return 0, name
}

// filterSeed is EROFS_XATTR_FILTER_SEED.
const filterSeed = 0x25bbe08f

// filterBit returns the bit that is clear in the filter of an inode that has an
// xattr of this name.
func filterBit(index uint8, suffix string) uint32 {
	return 1 << (xxh32([]byte(suffix), filterSeed+uint32(index)) & 31)
}
