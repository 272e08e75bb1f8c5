package bootcfg

import "github.com/composefs-go/composefs/verity"

// HandOverEvent is the last event that composefs-setup-root measures, before it hands over.
const HandOverEvent = "composefs-handover"

// Events returns the texts with which a good boot of the image extends the register, in
// order: the image, the root, the end. root is the UUID of the root partition's file
// system, in hex, or "unknown". The event of the image also says how it was verified: a
// key that is bound to "composefs:DIGEST" is released only to boots in which the kernel
// checks every byte.
func Events(level Requirement, image verity.Digest, root string) []string {
	name := "composefs"
	if level != Require {
		name += "-" + string(level)
	}
	return []string{name + ":" + image.String(), "composefs-root:" + root, HandOverEvent}
}
