package transform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// Content returns the content of a regular file whose content is not in the tree.
type Content func(*tree.Node) ([]byte, error)

// A Release is a release of composefs-rs that changed the digests of images to boot.
type Release uint8

const (
	Release090 Release = iota // /boot and /sysroot keep their nanoseconds
	Release094                // they take /usr's
)

// releases are the names of the releases.
var releases = [...]string{Release090: "composefs-rs-0.9.0", Release094: "composefs-rs-0.9.4"}

// ParseRelease returns the release of a name like composefs-rs-0.9.4.
func ParseRelease(name string) (Release, error) {
	if i := slices.Index(releases[:], name); i >= 0 {
		return Release(i), nil
	}
	return 0, fmt.Errorf("want %s, found %q", strings.Join(releases[:], " or "), name)
}

// Boot transforms the tree of a root file system into the tree of an image to boot. It
// reads the content of a few files below /etc/selinux. The tree is changed in place; after
// an error it can't be used.
func (r Release) Boot(root *tree.Node, content Content) error {
	usr, err := directory(root, "usr")
	if err != nil {
		return err
	}
	for _, name := range [...]string{"boot", "sysroot"} {
		dir, err := directory(root, name)
		if err != nil {
			return err
		}
		dir.Clear()
		dir.Mtime.Sec = usr.Mtime.Sec
		if r >= Release094 {
			dir.Mtime.Nsec = usr.Mtime.Nsec
		}
	}
	// An emptied directory may have held the original of a file; the walks below
	// need each file to have one.
	tree.Relink(root)
	p, err := loadPolicy(root, content)
	if err != nil {
		return err
	}
	if p == nil {
		for _, e := range tree.Walk(root) {
			e.Node.RemoveXattr(labelName)
		}
		return nil
	}
	if err := newLabeler(p).label(root); err != nil {
		return err
	}
	tree.Relink(root)
	return nil
}
