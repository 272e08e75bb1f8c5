package setup

import (
	"os"
	"time"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/verity"
)

// NewTestSystem returns this machine, but for its TPM, which is looked for below the
// directory machine, and for the digests that fs-verity has of files.
func NewTestSystem(k *kernel.Kernel, log *kmsg.Log, machine string, digestOf func(*os.File, verity.Algorithm) (verity.Digest, error)) System {
	l := newLinux(k, log)
	l.machine = machine
	if digestOf != nil {
		l.digestOf = digestOf
	}
	return l
}

// WithLoader has the boot loader of the system come from a partition.
func WithLoader(sys System, partUUID string) System {
	sys.(*linux).loader = func() string { return partUUID }
	return sys
}

// TPMWait returns how long a machine waits for its TPM.
func TPMWait(machine string, needed bool) time.Duration {
	return (&linux{machine: machine}).tpmWait(needed)
}

// What decides by itself, and shows only after half a minute, on a machine that stops, with
// modules of another kernel or on several disks.
var (
	RootMode        = readOnlyOrNot
	RootTimeout     = timeout
	RootDelay       = delay
	EndWithoutShell = endWithoutShell
	LoadModules     = loadAll
	HasSiblings     = hasSiblings
)
