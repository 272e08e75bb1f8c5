package setup_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// What is to be done about these problems composefs-setup-root says; here it is done.

// kindOf returns the kind of problem that the error is, "" if it is none.
func kindOf(err error) setup.Kind {
	var p *setup.Problem
	if !errors.As(err, &p) {
		return ""
	}
	return p.Kind
}

// Another kernel, one that has what is missing, is another row of what it can do.
func TestAKernelThatHasWhatIsMissingBoots(t *testing.T) {
	o := options(t, argA, "", 0)
	for _, f := range []kernel.Feature{kernel.MountAPI, kernel.EROFS, kernel.Overlay, kernel.OverlayData, kernel.OverlayVerity} {
		if _, err := setup.NewPlan(o, newKernel(f)); setup.CodeOf(err) != setup.CodeKernel || !errors.As(err, new(*kernel.MissingError)) {
			t.Errorf("without %s: %v", f.Name(), err)
		}
	}
	if _, err := setup.NewPlan(o, newKernel()); err != nil {
		t.Error(err)
	}
}

// Modules of another kernel are refused with a reason, those of this one are loaded.
func TestModulesOfThisKernelAreLoaded(t *testing.T) {
	const list = "/lib/modules/a.ko:\n"
	for _, cause := range []error{unix.ENOENT, unix.ENOEXEC} {
		err := setup.LoadModules(list, func(string) error { return cause })
		if kindOf(err) != setup.ForeignModule {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if err := setup.LoadModules(list, func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}

// A root device that isn't there, or that nobody can name, is found by its right name;
// one with an unknown file system is mounted as what rootfstype= says.
func TestEachRemedyOfTheRootDeviceWorks(t *testing.T) {
	unknown := loopDevice(t)
	var image bytes.Buffer
	if err := erofs.Write(&image, imageTree(t, initProgram, digest(t, hexA)), erofs.V1); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, unknown, image.String()+strings.Repeat("\x00", 1<<17)) // over the other superblock
	ext4 := loopDevice(t)
	for _, r := range []struct {
		name          string
		is            func(error) bool
		wrong, remedy string
	}{
		{"a device that isn't there", func(err error) bool { return errors.Is(err, blockdev.ErrAbsent) }, "rootwait=0 root=/dev/nowhere", "rootwait=0 root=" + ext4},
		{"a name of no kind", func(err error) bool { return strings.Contains(err.Error(), "want /dev/NAME, PARTLABEL=") }, "root=" + filepath.Base(ext4), "root=" + ext4},
		{"an unknown file system", func(err error) bool { return kindOf(err) == setup.UnknownFileSystem }, "root=" + unknown, "rootfstype=erofs root=" + unknown},
	} {
		t.Run(r.name, func(t *testing.T) {
			at := filepath.Join(t.TempDir(), "sysroot")
			l := setup.NewSystem(kernel.New(), kmsg.New(nil, t.Output()))
			if err := l.MountRoot(at, cmdline(t, r.wrong)); err == nil || !r.is(err) {
				t.Fatalf("%v", err)
			}
			if err := l.MountRoot(at, cmdline(t, r.remedy)); err != nil {
				t.Fatal(err)
			}
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A device that can't be written has a boot without state.
func TestARootThatCantBeWrittenBootsWithoutState(t *testing.T) {
	testutil.RequireTool(t, "blockdev")
	d := newDeviceDisk(t)
	if err := errors.Join(unix.Mount("", d.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""), exec.Command("blockdev", "--setro", d.device).Run()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("blockdev", "--setrw", d.device).Run() })
	if err := d.boot(t, "", ""); kindOf(err) != setup.ReadOnlyRoot {
		t.Fatalf("%v", err)
	}
	if err := d.boot(t, "", "[etc]\nmount = \"transient\"\n[var]\nmount = \"volatile\"\n"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
}
