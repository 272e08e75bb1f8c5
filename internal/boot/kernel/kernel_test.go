package kernel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// The kernels that this is tested on are new enough for all of it: an answer
// "no" there is a broken probe.
func TestANewKernelHasEverything(t *testing.T) {
	testutil.RequireRoot(t)
	k := kernel.New()
	if major := strings.SplitN(k.Release(), ".", 3); len(major) < 2 || major[0] < "6" || (major[0] == "6" && len(major[1]) == 1) {
		t.Skipf("kernel %s is older than 6.10", k.Release())
	}
	for f := kernel.MountAPI; f <= kernel.OverlayAppend; f++ {
		if err := k.Need(f); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}

func TestWhatIsForcedOffStaysOff(t *testing.T) {
	k := kernel.New(kernel.OverlayVerity)
	k.Learn(kernel.OverlayVerity, true)
	err := k.Need(kernel.OverlayVerity)
	var missing *kernel.MissingError
	if !errors.As(err, &missing) || missing.Feature != kernel.OverlayVerity {
		t.Fatalf("Need: %v, want a MissingError", err)
	}
	for _, part := range []string{k.Release(), "verity=require", "Linux 6.6"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't say %q", err, part)
		}
	}
	if known := k.Known(); len(known) != 1 || known["overlay-verity"] {
		t.Errorf("Known: %v", known)
	}
}

func TestAnUnprobedFeatureIsThereUntilItFails(t *testing.T) {
	k := kernel.New()
	if !k.Has(kernel.EROFSFile) {
		t.Error("counts as missing before anybody tried")
	}
	k.Learn(kernel.EROFSFile, false)
	if k.Has(kernel.EROFSFile) {
		t.Error("counts as present after it failed")
	}
}
