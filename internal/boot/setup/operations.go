package setup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// An Operation is the action of a step: a small comparable value with everything that the
// plan has decided about it. Its string is its line in a printed plan.
type Operation interface {
	fmt.Stringer
	do(s *session) error
}

// FindRoot finds the device that root= names and mounts it at At.
type FindRoot struct{ At string }

func (o FindRoot) String() string { return "find the root device and mount it at " + o.At }

func (o FindRoot) do(s *session) error { return s.sys.MountRoot(o.At, s.o.Cmdline) }

// PreferRoot replaces the root that another program has mounted at At by the device on the
// boot loader's disk, if Root, from the command line, matches several.
type PreferRoot struct{ Root, At string }

func (o PreferRoot) String() string {
	return "if root=" + o.Root + " fits several devices, mount the one on the boot loader's disk at " + o.At
}

func (o PreferRoot) do(s *session) error {
	err := s.sys.PreferRoot(o.At, s.o.Cmdline)
	if errors.Is(err, blockdev.ErrAmbiguous) {
		s.say(kmsg.Warning, fmt.Errorf("the root that is already mounted at %s is used: %w", o.At, err))
		return nil
	}
	return err
}

// OpenRoot opens the physical root and its repository.
type OpenRoot struct{ At string }

func (o OpenRoot) String() string { return "open the physical root at " + o.At }

func (o OpenRoot) do(s *session) error { return s.sys.OpenRoot(o.At) }

// OpenRef opens the image that a ref points to.
type OpenRef struct{ Name string }

func (o OpenRef) String() string {
	return "open the image that composefs/images/refs/" + o.Name + " points to"
}

func (OpenRef) do(s *session) error { return s.openRef() }

// OpenFirst opens the first image of the command line that exists.
type OpenFirst struct {
	// Names are the files that it looks for, with blanks between them: a slice could
	// not be compared.
	Names string
}

func imageNames(images []bootcfg.Image) string {
	var names []string
	for _, i := range images {
		names = append(names, "composefs/images/"+i.Digest.Hex())
	}
	return strings.Join(names, " ")
}

func (o OpenFirst) String() string { return "open " + strings.ReplaceAll(o.Names, " ", ", or else ") }

func (OpenFirst) do(s *session) error { return s.openFirst() }

// MeasureImage compares the digest that fs-verity has with the one that is wanted.
type MeasureImage struct{}

func (MeasureImage) String() string { return "measure its fs-verity digest, which must be the same" }

func (MeasureImage) do(s *session) error { return s.measure() }

// ReadImage finds damage: fs-verity checks a block only when it is read.
type ReadImage struct{}

func (ReadImage) String() string { return "read all of it, so that the kernel checks every block" }

func (ReadImage) do(s *session) error { return s.readImage() }

// CopyImage hashes a copy, from which the image is mounted then.
type CopyImage struct{}

func (CopyImage) String() string {
	return "copy it into memory and hash it, the digest must be the same"
}

func (CopyImage) do(s *session) error { return s.hashImage() }

// CheckSeal checks the image's seal against the policy and the keys.
type CheckSeal struct {
	Signature       bootcfg.Requirement
	Keys            int
	MinimumSequence uint64
	Revoked         int
}

func (o CheckSeal) String() string {
	return fmt.Sprintf("check its seal: %s, %d trusted keys, sequence %d or higher, %d images revoked", o.Signature, o.Keys, o.MinimumSequence, o.Revoked)
}

func (CheckSeal) do(s *session) error { return s.checkSeal() }

// ExtendDigest measures the digest into the TPM, before the image is used.
type ExtendDigest struct {
	PCR  uint32
	Need bootcfg.Requirement // whether there must be a TPM
}

func (o ExtendDigest) String() string {
	return fmt.Sprintf("extend PCR %d of the TPM with the digest: %s; then with the UUID of the physical root", o.PCR, o.Need)
}

func (o ExtendDigest) do(s *session) error { return s.extend(o.PCR, o.Need) }

// ClosePCR measures that nothing after this is of the verified part of the boot.
type ClosePCR struct{ PCR uint32 }

func (o ClosePCR) String() string {
	return fmt.Sprintf("extend PCR %d with the end of the verified part of the boot", o.PCR)
}

func (o ClosePCR) do(s *session) error {
	if s.boot.TPM.Status != "measured" {
		return nil
	}
	_, err := s.sys.Extend(o.PCR, bootcfg.HandOverEvent, true)
	return err
}

// MountImage mounts the file that was verified, whatever has its name by now.
type MountImage struct{}

func (MountImage) String() string { return "mount the image from the open file (EROFS)" }

func (MountImage) do(s *session) error { return s.sys.MountImage() }

// MountOverlay makes the new root of the image and the object store.
type MountOverlay struct {
	Transient bootcfg.TransientMode
	// Verity has the kernel check every file, unless the image's argument has the mark
	// that permits to be without.
	Verity bool
}

func (o MountOverlay) String() string {
	what := "mount overlayfs: the image over composefs/objects"
	switch o.Transient {
	case bootcfg.TransientOff:
		what += ", read-only"
	case bootcfg.TransientReadOnly:
		what += ", changes in memory, mounted read-only"
	default:
		what += ", changes in memory"
	}
	if o.Verity {
		what += ", verity=require"
	}
	return what
}

func (o MountOverlay) do(s *session) error {
	return s.sys.MountOverlay("composefs:"+s.image.Digest.Hex(), o.Verity && s.level == bootcfg.Require, o.Transient)
}

// MakeWritable makes the physical root writable, for the state of /etc and /var.
type MakeWritable struct{}

func (MakeWritable) String() string { return "make the physical root writable if it isn't" }

func (MakeWritable) do(s *session) error { return s.sys.MakeWritable() }

// MountState mounts /etc or /var.
type MountState struct {
	Dir            string // "etc" or "var"
	Mode           bootcfg.MountMode
	FullDisk       bootcfg.FullDisk
	HideExtensions bool
}

// describe explains the modes of /etc and /var.
var describe = map[bootcfg.MountMode]string{
	bootcfg.MountRoot:      "bind, from the physical root",
	bootcfg.MountBind:      "bind, from state/deploy",
	bootcfg.MountOverlay:   "overlay, changes in state/deploy",
	bootcfg.MountTransient: "overlay, changes in memory",
	bootcfg.MountVolatile:  "an empty tmpfs",
}

func (o MountState) String() string {
	what := fmt.Sprintf("mount /%s: %s", o.Dir, describe[o.Mode])
	if o.HideExtensions {
		what += ", extensions hidden"
	}
	return what
}

// do boots a new deployment with its state in memory where the disk has no room
// for it and the policy allows that: it has no state yet that could be lost, and making
// room takes a machine that comes up.
func (o MountState) do(s *session) error {
	err := s.sys.MountState(o.Dir, o.Mode, s.image.Digest.Hex())
	switch {
	case err == nil && o.HideExtensions:
		return s.hideExtensions(o.Dir)
	case !errors.Is(err, errNoRoom):
		return err
	case o.FullDisk == bootcfg.FullDiskRefuse:
		return problem(NoRoom, "%w", err)
	}
	s.say(kmsg.Err, problem(StateInMemory, "%w: /%s is in memory, WHAT IS WRITTEN THERE IS LOST at shutdown", err, o.Dir))
	s.boot.NoRoom = append(s.boot.NoRoom, o.Dir)
	instead := bootcfg.MountTransient
	if o.Mode != bootcfg.MountOverlay {
		instead = bootcfg.MountVolatile // a new directory would be empty too
	}
	return s.sys.MountState(o.Dir, instead, "")
}

// BindRoot puts the physical root at /sysroot of the new one.
type BindRoot struct{ ReadOnly bool }

func (o BindRoot) String() string {
	if o.ReadOnly {
		return "mount the physical root at /sysroot, read-only"
	}
	return "mount the physical root at /sysroot"
}

func (o BindRoot) do(s *session) error { return s.sys.BindRoot(o.ReadOnly) }

// SelfTest reads the files that the next program needs, through the new root.
type SelfTest struct{ Init string }

func (SelfTest) String() string {
	return "read the init program, its interpreter and usr/lib/os-release through the new root"
}

func (o SelfTest) do(s *session) error { return s.sys.SelfTest(bootcfg.Inits(o.Init)) }

// WriteRecord writes boot.json.
type WriteRecord struct{}

func (WriteRecord) String() string { return "write " + recordPath }

func (WriteRecord) do(s *session) error {
	switch s.level {
	case bootcfg.Userspace:
		s.warn(`fs-verity = "userspace": the image is verified, the contents of its files are not`)
	case bootcfg.Off:
		s.log.Printf(kmsg.Err, `fs-verity = "off": nothing is verified, neither the image nor the contents of its files`)
	}
	s.boot.Digest, s.boot.Argument, s.boot.FSVerity = s.image.Digest, s.image.Argument, s.level
	return s.sys.Record(&s.boot)
}

// HandOver puts the new root in the place of the physical one.
type HandOver struct{ At string }

func (o HandOver) String() string { return "put the new root at " + o.At }

func (o HandOver) do(s *session) error { return s.sys.HandOver(o.At) }

// SwitchRoot makes the tree at At the root and executes Init there, "" for the first
// program of those that the kernel looks for. It doesn't come back.
type SwitchRoot struct{ At, Init string }

func (SwitchRoot) String() string { return "switch root and execute init" }

func (o SwitchRoot) do(s *session) error {
	return s.sys.SwitchRoot(o.At, bootcfg.Inits(o.Init), s.o.Init[1:])
}

// BootUnverified leaves the physical root where it is, and says so. The TPM's register
// isn't that of a verified boot then.
type BootUnverified struct{ At string }

func (o BootUnverified) String() string { return "boot " + o.At + " as it is, unverified" }

func (BootUnverified) do(s *session) error {
	s.log.Printf(kmsg.Err, "the command line names no image, and the policy has argument = \"optional\": what is booted is unverified")
	return spoil(s.sys, s.o.Config.Measure, CodeNoArgument)
}
