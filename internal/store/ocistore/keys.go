package ocistore

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
)

// imageKeys are the names of a configuration's refs to EROFS images, in the order in which
// composefs-rs adds them. Those ending in .xattrs=… are only kept: composefs-rs makes them
// when it is told to keep the extended attributes user.*.
var imageKeys = []string{
	"composefs.image", "composefs.image.v1", "composefs.image.boot", "composefs.image.boot.v1",
	"composefs.image.boot.xattrs=keep-user-xattrs", "composefs.image.boot.v1.xattrs=keep-user-xattrs",
}

// imageKey returns the name of the ref to an image.
func imageKey(format erofs.Format, bootable bool) string {
	key := "composefs.image"
	if bootable {
		key += ".boot"
	}
	if format != erofs.V2 {
		key += ".v1"
	}
	return key
}

func isImageKey(name string) bool { return slices.Contains(imageKeys, name) }

// parseImageKey says what an image is whose ref has a name that isImageKey accepts.
func parseImageKey(key string) (format erofs.Format, bootable bool) {
	key, _, _ = strings.Cut(key, ".xattrs=")
	key, v1 := strings.CutSuffix(key, ".v1")
	if format = erofs.V2; v1 {
		format = erofs.V1
	}
	return format, strings.HasSuffix(key, ".boot")
}

// cutConfigRef returns the digest of the configuration that a manifest's ref leads to.
func cutConfigRef(name string) (digest string, ok bool) { return strings.CutPrefix(name, configRef) }
