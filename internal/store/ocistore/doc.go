// Package ocistore keeps container images in a repository, in the way of composefs-rs, so
// that mkimage and cfsctl work on the same one.
//
//	streams/refs/oci/TAG        -> oci-manifest-sha256:…    a name of an image
//	streams/oci-manifest-sha256:…   the manifest; refs to the configuration and the layers
//	streams/oci-config-sha256:…     the configuration; refs to the layers and to the EROFS images
//	streams/oci-layer-sha256:…      a layer, by diff_id: its archive, whose files are objects
//	images/HEX                      the EROFS images made of it
//
// All streams are splitstreams. A layer's name is the digest of its archive without
// compression, so that a layer that several images have is there once.
//
// # Order of writing
//
// A layer gets its name once all its objects are on stable storage and its digests have been
// compared with what the image says. So a pull that is interrupted goes on with the layers
// that are missing. Images, configuration and manifest come next, and the tag is the last:
// what has a tag is complete.
//
// # What is believed
//
// Nothing in an image is believed before it has been hashed. Layers that are already there
// are hashed again too, as are their objects if they have no fs-verity: another program may
// have stored them unchecked, or a disk may have damaged them. A damaged one is replaced.
package ocistore

import (
	"errors"
	"fmt"
	"strings"
)

// Causes of errors.
var (
	// ErrTag is the cause when a text can't be a tag.
	ErrTag = errors.New("unusable tag")
	// ErrNoTag is the cause when a tag isn't there.
	ErrNoTag = errors.New("no such tag")
	// ErrNotMade is the cause when no composefs image of the wanted kind was made of a stored one.
	ErrNotMade = errors.New("no such composefs image was made of it")
	// ErrBroken is the cause when a stored image isn't what its names say, or is incomplete.
	ErrBroken = errors.New("the stored container image is incomplete or damaged")
)

// What names of streams begin with. The rest is a digest, "sha256:HEX".
const (
	manifestPrefix = "oci-manifest-"
	configPrefix   = "oci-config-"
	layerPrefix    = "oci-layer-"
	configRef      = "config:" // of the ref from a manifest to its configuration
	tagPrefix      = "oci/"    // of refs
)

// tagMax is the longest file name of a tag, in bytes.
const tagMax = 255

var escapeTag = strings.NewReplacer("%", "%25", "/", "%2F")

// unescapeTag undoes escapeTag, and reports whether that was possible.
func unescapeTag(name string) (string, bool) {
	tag := strings.NewReplacer("%2F", "/", "%25", "%").Replace(name)
	return tag, escapeTag.Replace(tag) == name
}

// CheckTag accepts the names that a stored image can have. "@" at the beginning would be
// a digest.
func CheckTag(tag string) error {
	switch n := len(escapeTag.Replace(tag)); {
	case tag == "", tag == ".", tag == "..":
		return fmt.Errorf("%w: %q", ErrTag, tag)
	case strings.HasPrefix(tag, "@"):
		return fmt.Errorf("%w: %.300q begins with @, as digests do", ErrTag, tag)
	case isDigest(tag):
		return fmt.Errorf("%w: %q is the digest of a manifest", ErrTag, tag)
	case strings.Contains(tag, "\x00"):
		return fmt.Errorf("%w: %.300q has a NUL byte", ErrTag, tag)
	case n > tagMax:
		return fmt.Errorf("%w: want at most %d bytes, each / and %% counted as 3, found %d", ErrTag, tagMax, n)
	}
	return nil
}

func isDigest(tag string) bool { _, ok := parseDigest(tag); return ok }

// ParseTagRef returns the tag that a ref to a stream is, and false if it is none.
func ParseTagRef(ref string) (tag string, ok bool) {
	name, ok := strings.CutPrefix(ref, tagPrefix)
	if !ok {
		return "", false
	}
	return unescapeTag(name)
}

func tagRef(tag string) string { return tagPrefix + escapeTag.Replace(tag) }
