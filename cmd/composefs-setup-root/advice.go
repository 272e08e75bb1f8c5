package main

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A remedy is what can be done about an error. In the remedy of a problem [DIR] stands for
// its directory. Each one is tried: see remedies_test.go.
type remedy struct {
	kind setup.Kind
	is   func(error) bool // for errors that aren't a setup.Problem
	say  string
}

// remedies are found by the kind of the outermost problem, or else by the type or cause of
// the error. The first that fits is printed.
var remedies = []remedy{
	{setup.NoArgument, nil, `want composefs.digest=v1-sha256-12:HEX (mkimage measure prints it), or argument = "optional" under [verify] in the policy to boot without`},
	{setup.LongCommandLine, nil, "shorten it"},
	{setup.UnknownFileSystem, nil, "name it with rootfstype="},
	{setup.NoRepository, nil, "name the partition that has it with root="},
	{setup.NoImage, nil, "restore the missing image, or boot another entry"},
	{setup.NoneOfImages, nil, "restore one of them, or boot another entry"},
	{setup.NoRef, nil, "make the missing ref, or boot another entry"},
	{setup.BadRef, nil, "make the ref again, or boot another entry"},
	{setup.NotAnImage, nil, "put the image in its place, or boot another entry"},
	{setup.DamagedImage, nil, "restore the image from a good copy, or boot another entry"},
	{setup.LargeImage, nil, `use a file system with fs-verity and [verify] fs-verity = "require"`},
	{setup.NoObjectStore, nil, "restore it or boot another disk"},
	{setup.ReadOnlyRoot, nil, `for a root that can't be written set mount = "transient" under [etc] and mount = "volatile" under [var]`},
	{setup.NoMountPoint, nil, `add it to the image, or set mount = "none" under [DIR]`},
	{setup.StateLink, nil, "put one there on the root partition, or boot another entry"},
	{setup.NoRoom, nil, `make room on the root partition, or set full-disk = "transient" under [failure]`},
	{setup.StateInMemory, nil, "make room and boot again"},
	{setup.NoRoomForChanges, nil, "make room on the root partition"},
	{setup.ExtensionLink, nil, "remove the link from the root partition"},
	{setup.NoTPM, nil, `turn it on in the firmware's setup, add its driver to the initramfs, or set [measure] tpm = "if-present"`},
	{setup.NoInit, nil, "install one, or name it with init="},
	{setup.BadObject, nil, "restore it (mkimage build makes it again) or boot another entry"},
	{setup.BadKernel, nil, "boot another kernel"},
	{setup.ForeignModule, nil, "make the initrd again with the modules of this kernel (mkimage initrd --modules)"},
	{setup.NoEarlyMount, nil, "want a directory of the image there, as mkimage build --boot makes"},
	{setup.RootUnverified, nil, "boot without what keeps composefs-setup-root from running (rd.systemd.mask=, rd.systemd.unit=)"},
	{setup.RootCovered, nil, "remove what mounts it (mount.usr=, rd.overlay, rd.systemd.mount-extra=, a line in /etc/fstab)"},
	{setup.RootGone, nil, "boot without what unmounts it, a hook or a unit"},
	{setup.RecordCovered, nil, "boot without what mounts there (rd.systemd.mount-extra=)"},
	{setup.UnspoiltTPM, nil, "add the TPM driver's module to the initramfs, or ask for the shell later"},
	{setup.NoShell, nil, `the lines above say why; for a shell set shell = "allow" under [failure] in the initramfs's policy`},

	{"", linked, "put the file itself there, as a link may lead out of the initramfs"},
	{"", absent, "correct root=, or add the driver's module to the initramfs"},
	{"", ambiguous, "unplug one, or name one with root=PARTUUID= (a copied disk gets numbers of its own by sgdisk -G)"},
	{"", unnamed, "name the device with root="},
	{"", withoutACL, "boot a kernel that has them"},
	{"", repeated, "leave only one, or give several composefs.digest="},
	{"", conflicting, "leave one of them out"},
	{"", missing, "boot another kernel, or add what is missing to this one's initramfs"},
}

// policyRemedies are by the reason why the policy can't be kept.
var policyRemedies = [...]string{
	bootcfg.RequiresKey:        "add the .pub file of the signing key",
	bootcfg.OptionalWithoutKey: `add the .pub file of a key, or say signature = "off"`,
	bootcfg.SealsWithoutKey:    `add the key, or say signature = "off" for a boot that checks no seal`,
	bootcfg.SealsUnchecked:     "leave out the one or the other",
	bootcfg.InsecureImage:      `remove the "?", or set allow-insecure = true under [verify]`,
}

// imageRemedies are by the reason for which package sign refuses an image, its seal or its
// digest; the first that fits is said. SEAL stands for the command that seals the image. The
// reasons are pointers for the table to be made by the compiler: this program is small.
var imageRemedies = []struct {
	reason *error
	say    string
}{
	{&verity.ErrUnsupported, `turn it on (ext4: tune2fs -O verity DEVICE) and install the image again, or set [verify] fs-verity = "userspace"`},
	{&verity.ErrNotEnabled, "install it again (a plain copy loses it), or boot another entry"},
	{&verity.ErrMismatch, "restore the image, or boot another entry"},
	{&sign.ErrNoSeal, "seal it where it was built: SEAL"},
	{&sign.ErrUnsigned, "sign it where the image was built: SEAL, or minisign -S -s KEY -m IMAGE.seal"},
	{&sign.ErrNoKeys, "put the .pub file of the signing key into the initramfs"},
	{&sign.ErrUnknownKey, "use a key that is trusted: SEAL, or add the other's .pub file to the initramfs"},
	{&sign.ErrLegacy, "sign with minisign 0.10 or later, without -l"},
	{&sign.ErrBadSignature, "seal the image again: SEAL"},
	{&sign.ErrOtherDigest, "each image needs a seal of its own: SEAL"},
	{&sign.ErrMalformed, "seal the image again: SEAL"},
	{&sign.ErrTooOld, "boot a newer image"},
	{&sign.ErrOtherSystem, "boot an image that was sealed with this --os-id"},
	{&sign.ErrOtherRef, "let the ref point to an image that was sealed for it"},
	{&sign.ErrRevoked, "boot another image"},
}

// adviseImage returns what to do about an image that is refused, "" if nothing is known.
func adviseImage(err error) string {
	var refused *sign.RefusedError
	var measured *sign.MeasureError
	var digest *sign.DigestError
	image := ""
	switch {
	case errors.As(err, &refused):
		image = refused.Image.Hex()
	case !errors.As(err, &measured) && !errors.As(err, &digest):
		return "" // policies and keys are malformed too
	}
	for _, r := range imageRemedies {
		if errors.Is(err, *r.reason) {
			say := strings.Replace(r.say, "SEAL", "mkimage seal --repo REPO --key KEY --sequence N IMAGE", 1)
			return ": " + strings.ReplaceAll(say, "IMAGE", image)
		}
	}
	return ""
}

func linked(err error) bool {
	var kind *osfile.KindError
	return errors.As(err, &kind) && kind.Found&fs.ModeSymlink != 0
}

func absent(err error) bool    { return errors.Is(err, blockdev.ErrAbsent) }
func ambiguous(err error) bool { return errors.Is(err, blockdev.ErrAmbiguous) }
func unnamed(err error) bool   { return errors.Is(err, blockdev.ErrNoRoot) }

func withoutACL(err error) bool {
	var m *kernel.MissingError
	return errors.As(err, &m) && m.Feature == kernel.EROFSACL
}

func repeated(err error) bool    { return errors.Is(err, bootcfg.ErrRepeated) }
func conflicting(err error) bool { return errors.Is(err, bootcfg.ErrConflict) }

func missing(err error) bool {
	var m *kernel.MissingError
	return errors.As(err, &m)
}

// advise returns the text of an error, followed by what to do about it.
func advise(err error) string {
	var p *setup.Problem
	if !errors.As(err, &p) {
		p = &setup.Problem{}
	}
	for _, r := range remedies {
		if r.kind == p.Kind && (r.is == nil || r.is(err)) {
			return err.Error() + ": " + strings.Replace(r.say, "[DIR]", "["+p.Dir+"]", 1)
		}
	}
	if policy := (*bootcfg.PolicyError)(nil); errors.As(err, &policy) {
		return err.Error() + ": " + policyRemedies[policy.Reason]
	}
	return err.Error() + adviseImage(err)
}
