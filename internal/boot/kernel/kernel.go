// Package kernel finds out what the running kernel can do.
//
// A feature is probed by trying it when it is asked for. Version numbers appear only in
// messages, because distributions both backport features and disable them.
//
//	Present   use it
//	Absent    fall back, or refuse with a *MissingError
//	Unknown   the probe gave no answer (no permission, no memory, a seccomp filter):
//	          use it all the same, so that the kernel reports what is wrong; refuse with
//	          an *UnknownError where a kernel without it would say nothing
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

// table describes each feature: what it is, since when it exists, how it is probed.
// EROFSFile has no probe: only mounting an image tells, see Learn.
var table = [features]struct {
	name, what, since string
	probe             probe
	silent            bool // a kernel without it goes on without it, and nothing tells
}{
	MountAPI:      {"mount-api", "the file-descriptor mount system calls", "5.2", hasMountAPI, false},
	EROFS:         {"erofs", "the EROFS file system (CONFIG_EROFS_FS, or the module erofs)", "5.4", hasFilesystem("erofs"), false},
	EROFSFile:     {"erofs-file", "mounting EROFS straight from a file (CONFIG_EROFS_FS_BACKED_BY_FILE)", "6.12", nil, false},
	EROFSACL:      {"erofs-acl", "POSIX ACLs of the EROFS file system (CONFIG_EROFS_FS_POSIX_ACL)", "5.4", hasEROFSACL, true},
	Overlay:       {"overlay", "overlayfs (CONFIG_OVERLAY_FS, or the module overlay)", "3.18", hasFilesystem("overlay"), false},
	OverlayData:   {"overlay-data", "overlayfs data-only layers", "6.5", hasOverlayContext, false},
	OverlayVerity: {"overlay-verity", "overlayfs verity=require", "6.6", hasOverlayOption("verity", "require"), false},
	OverlayAppend: {"overlay-append", "overlayfs lowerdir+ and datadir+", "6.7", hasOverlayOption("lowerdir+", "/"), false},
	OverlayFD:     {"overlay-fd", "overlayfs layers by file descriptor", "6.15", hasOverlayFD, false},
}

// Name returns the short name that boot.json uses.
func (f Feature) Name() string { return table[f].name }

// A Presence says whether the kernel has a feature.
type Presence uint8

// Unknown is neither of the others: it stands for no weaker check and for no refusal.
const (
	Unknown Presence = iota
	Absent
	Present
)

// A Kernel is the running kernel and what is known about it. It is for use by one
// goroutine.
type Kernel struct {
	release string
	calls   caller
	known   [features]Presence
}

// New returns the running kernel. The features in off count as absent, for tests.
func New(off ...Feature) *Kernel {
	k := &Kernel{release: "unknown", calls: system{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		k.release = unix.ByteSliceToString(u.Release[:])
	}
	for _, f := range off {
		k.known[f] = Absent
	}
	return k
}

// Release returns the version as uname gives it, "6.12.48+deb13-cloud-amd64".
func (k *Kernel) Release() string { return k.release }

// Has reports whether the kernel is known to have the feature.
func (k *Kernel) Has(f Feature) bool {
	p, _ := k.ask(f)
	return p == Present
}

// Lacks reports whether the kernel is known not to have the feature. Where doing without
// it checks less, this decides, and not that Has is false.
func (k *Kernel) Lacks(f Feature) bool {
	p, _ := k.ask(f)
	return p == Absent
}

// ask probes the feature unless it is known. The error says why it still isn't.
func (k *Kernel) ask(f Feature) (Presence, error) {
	if k.known[f] != Unknown || table[f].probe == nil {
		return k.known[f], nil
	}
	p, err := table[f].probe(k.calls)
	k.known[f] = p
	return p, err
}

// Learn records what using the feature has shown. It doesn't change an answer that is
// already known, nor a feature that is forced off.
func (k *Kernel) Learn(f Feature, p Presence) {
	if k.known[f] == Unknown {
		k.known[f] = p
	}
}

// Known returns the features about which something is known, by name: whether each is there.
func (k *Kernel) Known() map[string]bool {
	m := map[string]bool{}
	for f, p := range k.known {
		if p != Unknown {
			m[Feature(f).Name()] = p == Present
		}
	}
	return m
}

// Need returns nil if the feature may be used: if it is there, or if using it will tell. It
// returns a *MissingError if the kernel lacks it, and an *UnknownError if nothing would tell
// that it does.
func (k *Kernel) Need(f Feature) error {
	p, err := k.ask(f)
	switch {
	case p == Absent:
		return &MissingError{Feature: f, Release: k.release}
	case p == Unknown && table[f].silent:
		return &UnknownError{Feature: f, Release: k.release, Err: err}
	}
	return nil
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

// An UnknownError says that it can't be found out whether the kernel has a feature that
// must not be missing.
type UnknownError struct {
	Feature Feature
	Release string
	Err     error // what the probe met
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("find out whether kernel %s has %s: %v", e.Release, table[e.Feature].what, e.Err)
}

func (e *UnknownError) Unwrap() error { return e.Err }
