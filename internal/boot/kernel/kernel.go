// Package kernel finds out what the running kernel can do.
//
// Features are probed, by trying them, the first time somebody asks; version
// numbers serve messages only, since distributions move features both ways.
package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Feature is something that some kernels lack.
type Feature uint8

// The features that mounting a composefs image touches.
const (
	MountAPI      Feature = iota // fsopen, fsconfig, fsmount, open_tree, move_mount
	EROFS                        // the file system itself
	EROFSFile                    // EROFS mounted straight from a file
	EROFSACL                     // POSIX ACLs of EROFS are obeyed
	Overlay                      // the file system itself
	OverlayData                  // data-only lower layers
	OverlayVerity                // verity=require
	OverlayAppend                // lowerdir+ and datadir+
	OverlayFD                    // layers given as O_PATH descriptors
	features
)

// table says of each feature what it is, since when and how it is found out.
// EROFSFile has no probe: only mounting an image tells, see Learn.
var table = [features]struct {
	name, what, since string
	probe             func() bool
}{
	MountAPI:      {"mount-api", "the file-descriptor mount system calls", "5.2", hasMountAPI},
	EROFS:         {"erofs", "the EROFS file system (CONFIG_EROFS_FS, or the module erofs)", "5.4", func() bool { return hasFilesystem("erofs") }},
	EROFSFile:     {"erofs-file", "mounting EROFS straight from a file (CONFIG_EROFS_FS_BACKED_BY_FILE)", "6.12", nil},
	EROFSACL:      {"erofs-acl", "POSIX ACLs of the EROFS file system (CONFIG_EROFS_FS_POSIX_ACL)", "5.4", hasEROFSACL},
	Overlay:       {"overlay", "overlayfs (CONFIG_OVERLAY_FS, or the module overlay)", "3.18", func() bool { return hasFilesystem("overlay") }},
	OverlayData:   {"overlay-data", "overlayfs data-only layers", "6.5", hasOverlayContext},
	OverlayVerity: {"overlay-verity", "overlayfs verity=require", "6.6", func() bool { return hasOverlayOption("verity", "require") }},
	OverlayAppend: {"overlay-append", "overlayfs lowerdir+ and datadir+", "6.7", func() bool { return hasOverlayOption("lowerdir+", "/") }},
	OverlayFD:     {"overlay-fd", "overlayfs layers by file descriptor", "6.15", hasOverlayFD},
}

// Name returns the short name that boot.json uses.
func (f Feature) Name() string { return table[f].name }

// answer is what is known of a feature.
type answer uint8

const (
	unknown answer = iota
	no
	yes
)

// A Kernel is the running kernel and what is known of it. It is for one
// goroutine.
type Kernel struct {
	release string
	known   [features]answer
}

// New returns the running kernel. The features in off count as missing, for tests.
func New(off ...Feature) *Kernel {
	k := &Kernel{release: "unknown"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		k.release = unix.ByteSliceToString(u.Release[:])
	}
	for _, f := range off {
		k.known[f] = no
	}
	return k
}

// Release returns the version as uname gives it, "6.12.48+deb13-cloud-amd64".
func (k *Kernel) Release() string { return k.release }

// Has reports whether the kernel has the feature. One that can't be probed
// counts as present until Learn says otherwise.
func (k *Kernel) Has(f Feature) bool {
	if k.known[f] != unknown {
		return k.known[f] == yes
	}
	probe := table[f].probe
	if probe == nil {
		return true
	}
	k.Learn(f, probe())
	return k.known[f] == yes
}

// Learn remembers what using the feature has shown. What is off stays off.
func (k *Kernel) Learn(f Feature, has bool) {
	if k.known[f] == unknown {
		k.known[f] = no
		if has {
			k.known[f] = yes
		}
	}
}

// Known returns what has been found out so far, by name.
func (k *Kernel) Known() map[string]bool {
	m := map[string]bool{}
	for f, a := range k.known {
		if a != unknown {
			m[Feature(f).Name()] = a == yes
		}
	}
	return m
}

// Need returns a *MissingError if the kernel lacks the feature.
func (k *Kernel) Need(f Feature) error {
	if k.Has(f) {
		return nil
	}
	return &MissingError{Feature: f, Release: k.release}
}

// A MissingError says which feature the kernel lacks and where it comes from.
type MissingError struct {
	Feature Feature
	Release string
}

func (e *MissingError) Error() string {
	t := table[e.Feature]
	return fmt.Sprintf("kernel %s lacks %s, which came with Linux %s", e.Release, t.what, t.since)
}
