package kernelview

import (
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// How much of an extended attribute the kernel shows.
type shown int

const (
	nothing  shown = iota
	nameOnly       // it is listed, and its value can't be read
	nameAndValue
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	capability = "security.capability"
)

// shows returns how much root sees of an attribute of an accessible file.
func (v View) shows(name, value string, mode uint32, access uint16) shown {
	acl := strings.HasPrefix(name, aclAccess) || strings.HasPrefix(name, aclDefault)
	isFile := mode&typeMask == typeRegular || mode&typeMask == typeDir
	switch {
	case acl && !v.ACL:
		return nothing
	case acl && name != aclAccess && name != aclDefault:
		return nameOnly
	case acl, strings.HasPrefix(name, "trusted."):
		return unlessEmpty(name, "trusted.")
	case strings.HasPrefix(name, "user."):
		if !isFile || access&mayRead == 0 {
			return nameOnly // such attributes are for files and directories that may be read
		}
		return unlessEmpty(name, "user.")
	case name == capability && !isCapability(value):
		return nameOnly
	case strings.HasPrefix(name, "security."):
		return unlessEmpty(name, "security.")
	}
	return nothing // EROFS has no handler for it
}

// unlessEmpty is for names that need something after the prefix.
func unlessEmpty(name, prefix string) shown {
	if name == prefix {
		return nameOnly
	}
	return nameAndValue
}

// isACL reports whether the kernel reads a value as an access control list: version 2
// and entries of 8 bytes.
func isACL(value string) bool {
	return len(value) >= 4 && len(value)%8 == 4 && value[:4] == "\x02\x00\x00\x00"
}

// isCapability reports whether the kernel reads a value as the capabilities of a file:
// revision 2, with or without the effective bit, and two masks of 64 bits.
func isCapability(value string) bool {
	return len(value) == 20 && value[1:4] == "\x00\x00\x02" && value[0] <= 1
}

// ACLsAreValid reports whether the kernel reads all access control lists of a tree. If
// not, it must be mounted without: it refuses to walk past a bad one.
func ACLsAreValid(root *tree.Node) bool {
	for _, e := range tree.Walk(root) {
		for _, x := range e.Node.Xattrs() {
			if (x.Name == aclAccess || x.Name == aclDefault) && !isACL(string(x.Value)) {
				return false
			}
		}
	}
	return true
}
