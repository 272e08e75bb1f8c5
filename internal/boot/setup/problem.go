package setup

import "fmt"

// A Kind is a kind of problem that stops a boot, or threatens data, and that can be solved.
// How is up to the program: see advice.go of composefs-setup-root.
type Kind string

// The kinds of problems.
const (
	NoArgument        Kind = "no-argument"         // the command line names no image
	LongCommandLine   Kind = "long-command-line"   // it isn't parsed
	UnknownFileSystem Kind = "unknown-file-system" // on the root device
	NoRepository      Kind = "no-repository"       // on the root file system
	NoImage           Kind = "no-image"            // in the repository
	NoneOfImages      Kind = "none-of-images"      // on the command line is in the repository
	NoRef             Kind = "no-ref"              // in the repository
	BadRef            Kind = "bad-ref"             // not a link to an image
	NotAnImage        Kind = "not-an-image"        // a file that can't be one is in its place
	DamagedImage      Kind = "damaged-image"       // on the disk
	LargeImage        Kind = "large-image"         // for a copy in memory
	NoObjectStore     Kind = "no-object-store"     // a directory, in the repository
	ReadOnlyRoot      Kind = "read-only-root"      // there is state to keep on it
	NoMountPoint      Kind = "no-mount-point"      // for Problem.Dir in the image
	StateLink         Kind = "state-link"          // or a file where the state of Problem.Dir is
	NoRoom            Kind = "no-room"             // for the state of a new deployment
	StateInMemory     Kind = "state-in-memory"     // for want of room; the boot goes on
	NoRoomForChanges  Kind = "no-room-for-changes" // to mount those that are there
	ExtensionLink     Kind = "extension-link"      // where extensions are to be hidden
	NoTPM             Kind = "no-tpm"              // and the policy requires one
	NoInit            Kind = "no-init"             // in the image
	BadObject         Kind = "bad-object"          // of a file that the next program needs
	BadKernel         Kind = "bad-kernel"          // it refuses an object that is intact
	ForeignModule     Kind = "foreign-module"      // of another kernel, or incomplete
	NoEarlyMount      Kind = "no-early-mount"      // a directory of the image for /proc, /sys, /dev or /run
	RootUnverified    Kind = "root-unverified"     // nothing at the root is of this boot
	RootCovered       Kind = "root-covered"        // something is mounted over it
	RootGone          Kind = "root-gone"           // it was unmounted
	RecordCovered     Kind = "record-covered"      // something is mounted over the record of the verified root
	UnspoiltTPM       Kind = "unspoilt-tpm"        // a shell is asked for before its register is spoiled
	NoShell           Kind = "no-shell"            // is allowed
)

// A Problem is an error about which something can be done.
type Problem struct {
	Kind Kind
	Dir  string // "etc" or "var", if it is about one of them
	Err  error
}

func (p *Problem) Error() string { return p.Err.Error() }
func (p *Problem) Unwrap() error { return p.Err }

func problem(kind Kind, format string, args ...any) error {
	return &Problem{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// stateProblem is one with mounting dir, "etc" or "var".
func stateProblem(kind Kind, dir, format string, args ...any) error {
	return &Problem{kind, dir, fmt.Errorf("mount /%s: %w", dir, fmt.Errorf(format, args...))}
}
