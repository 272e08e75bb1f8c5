package setup

import (
	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/tpm"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A System does to the machine what the steps say. Each method is one action on files that
// the ones before have opened: the physical root, the image, the new root.
type System interface {
	// MountRoot finds the root device and mounts it at the path.
	MountRoot(path string, args bootcfg.Cmdline) error
	// PreferRoot replaces a root that is mounted at the path by the one on the boot loader's
	// disk, if root= fits several devices; blockdev.ErrAmbiguous if that doesn't decide.
	PreferRoot(path string, args bootcfg.Cmdline) error
	// OpenRoot opens the physical root.
	OpenRoot(path string) error
	// ResolveRef returns the image that images/refs/NAME points to.
	ResolveRef(name string) (verity.Digest, error)
	// OpenImage opens images/HEX; fs.ErrNotExist if there is none.
	OpenImage(d verity.Digest) error
	// Measure returns the image's fs-verity digest as the kernel has it.
	Measure(alg verity.Algorithm) (verity.Digest, error)
	// ReadImage reads every block of the image once.
	ReadImage() error
	// HashImage copies the image into memory that nobody can write, where it is
	// mounted from, and returns the fs-verity digest of the copy.
	HashImage(alg verity.Algorithm) (verity.Digest, error)
	// ReadSeal reads a file of composefs/seals; see sign.ReadSeal.
	ReadSeal(f sign.File) ([]byte, error)
	// Extend extends a register of the TPM with the event, and logs it. A TPM that
	// isn't there is fs.ErrNotExist; one that is needed is waited for.
	Extend(pcr uint32, event string, needed bool) ([]tpm.Digest, error)
	// HasTPM reports whether the firmware knows of a TPM 2.0, which may not be there yet.
	HasTPM() bool
	// RootID names the file system of the physical root, as the kernel knows it.
	RootID() string
	// MountImage mounts the image's metadata.
	MountImage() error
	// MountOverlay makes the new root of metadata and object store.
	MountOverlay(source string, verity bool, transient bootcfg.TransientMode) error
	// MakeWritable makes the physical root writable.
	MakeWritable() error
	// BindRoot puts the physical root at /sysroot in the new root.
	BindRoot(readOnly bool) error
	// MountState puts /etc or /var into the new root. Without a deployment it is
	// another directory, which may be missing.
	MountState(dir string, mode bootcfg.MountMode, deployment string) error
	// SelfTest reads the next program, the first of inits that exists, and what it needs.
	SelfTest(inits []string) error
	// Record writes boot.json, marks the root device for systemd, and masks the units
	// that merge extensions where these are forbidden.
	Record(b *Boot) error
	// HandOver puts the new root at the path.
	HandOver(path string) error
	// SwitchRoot makes the path the root and executes the first of inits that
	// exists. It returns only if it can't.
	SwitchRoot(path string, inits, args []string) error
	// Abandon undoes all mounts.
	Abandon()
}
