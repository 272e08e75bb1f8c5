package bootcfg

import "github.com/composefs-go/composefs/verity"

// HandOverEvent ends what the register of the TPM says of the initramfs.
const HandOverEvent = "composefs-handover"

// Events returns what a good boot of the image extends the register with, in this order:
// the image, the root, the end. The root is the UUID of the root partition's file system,
// in hex, or "unknown". What else is true only of such a boot is in the image's event: a key
// that is bound to "composefs:DIGEST" is for boots whose every byte the kernel checks.
func Events(level Requirement, image verity.Digest, root string) []string {
	name := "composefs"
	if level != Require {
		name += "-" + string(level)
	}
	return []string{name + ":" + image.String(), "composefs-root:" + root, HandOverEvent}
}
