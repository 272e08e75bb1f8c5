package setup_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func cmdline(t *testing.T, text string) bootcfg.Cmdline {
	t.Helper()
	c, err := bootcfg.ParseCmdline(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheRootDeviceIsMountedAsTheCommandLineSays(t *testing.T) {
	for _, c := range []struct {
		name, line, mode string
		wait             time.Duration
	}{
		{"nothing said", "quiet", "ro", 30 * time.Second},
		{"the last of ro and rw", "ro rw", "rw", 30 * time.Second},
		{"the last of rw and ro", "rw ro", "ro", 30 * time.Second},
		{"values aren't flags", "rw=1", "ro", 30 * time.Second},
		{"a number of seconds", "rootwait=3", "ro", 3 * time.Second},
		{"in another base", "rootwait=0x10", "ro", 16 * time.Second},
		{"for ever", "rootwait", "ro", blockdev.Forever},
		{"the last of both", "rootwait rootwait=3", "ro", 3 * time.Second},
		{"the last of both, the other way round", "rootwait=3 rootwait", "ro", blockdev.Forever},
		{"no number is for ever, as in the kernel", "rootwait=x", "ro", blockdev.Forever},
		{"a number that the kernel doesn't take either", "rootwait=2147484", "ro", blockdev.Forever},
		{"the largest that it takes", "rootwait=2147483", "ro", 2147483 * time.Second},
	} {
		args := cmdline(t, c.line)
		if mode, wait := setup.RootMode(args), setup.RootTimeout(args); mode != c.mode || wait != c.wait {
			t.Errorf("%s: %s, %v; want %s, %v", c.name, mode, wait, c.mode, c.wait)
		}
	}
	for line, want := range map[string]time.Duration{"quiet": 0, "rootdelay=7": 7 * time.Second, "rootdelay": 0, "rootdelay=x": 0, "rootdelay=0x10 quiet": 16 * time.Second} {
		if got := setup.RootDelay(cmdline(t, line)); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}

// loopDevice makes a device with an ext4 on it, with the options of mkfs.ext4.
func loopDevice(t *testing.T, options ...string) string {
	t.Helper()
	testutil.RequireRoot(t)
	name := filepath.Join(t.TempDir(), "disk")
	writeTestFile(t, name, "")
	if err := os.Truncate(name, 8<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(testutil.RequireTool(t, "mkfs.ext4"), append(options, "-q", name)...).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	losetup := testutil.RequireTool(t, "losetup")
	out, err := exec.Command(losetup, "--find", "--show", name).Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command(losetup, "--detach", device).Run() })
	return device
}

func TestMountRootFindsOutTheType(t *testing.T) {
	device, at := loopDevice(t), filepath.Join(t.TempDir(), "root")
	var said strings.Builder
	l := setup.NewSystem(kernel.New(), kmsg.New(nil, &said))
	err := l.MountRoot(at, cmdline(t, "root="+device+" rootflags=noatime,commit=7 rootdelay=1"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "waiting 1s before looking for the root device") {
		t.Errorf("said %q, want what rootdelay= has it wait for", said.String())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(at+"/x", nil, 0o644); err == nil {
		t.Error("writable, though rw wasn't said")
	}
	if m := mounts(t); !strings.Contains(m, " "+at+" ") || !strings.Contains(m, "rw,noatime - ext4 ") || !strings.Contains(m, "commit=7") {
		t.Errorf("mounted as\n%s", m)
	}
}

func TestMountRootSaysWhatIsWrong(t *testing.T) {
	device := loopDevice(t)
	for _, c := range []struct {
		name, line string
		code       setup.Code
		want       string
	}{
		{"a kind of root that we don't have", "root=nfs:server", setup.CodeConfig, "root=nfs:server: want /dev/NAME"},
		{"a device that doesn't come", "root=/dev/absent rootwait=0", setup.CodeMount, "/dev/absent didn't appear within 0s"},
		{"an unknown option", "root=" + device + " rootflags=cheese", setup.CodeMount, "Unknown parameter 'cheese'"},
		{"no file system", "root=/dev/zero", setup.CodeMount, "no file system that we know"},
	} {
		err := setup.NewSystem(kernel.New(), nil).MountRoot(t.TempDir(), cmdline(t, c.line))
		if setup.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: status %d, %v; want %d and %q", c.name, setup.CodeOf(err), err, c.code, c.want)
		}
	}
}

// A machine whose firmware has variables that this kernel can't show boots as one without.
func TestALoaderThatCantBeAskedDecidesNothing(t *testing.T) {
	first, dir, at := loopDevice(t, "-L", "first"), t.TempDir(), t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/sys/firmware/efi", 0o755), unix.Mount(first, at, "ext4", unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	sys := setup.NewTestSystem(kernel.New(), kmsg.New(nil, t.Output()), dir, nil)
	if err := sys.PreferRoot(at, cmdline(t, "root=LABEL=other")); err != nil {
		t.Error(err)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Error(err)
	}
}

// A root that somebody else has mounted stays, unless root= clearly means another device.
func TestARootThatIsMountedIsReplacedOnlyByTheOneThatIsMeant(t *testing.T) {
	const loader = "01234567-89ab-cdef-0123-456789abcdef"
	first, second, twin := loopDevice(t, "-L", "first"), loopDevice(t, "-L", "second"), loopDevice(t, "-L", "twin")
	loopDevice(t, "-L", "twin")
	for _, c := range []struct {
		name, root string
		loader     string
		mounted    string // device that is there before, "" if none
		want       string // and after
		err        error
	}{
		{"nothing said of a root", "", loader, first, first, nil},
		{"a root of another kind", "nfs:server", loader, first, first, nil},
		{"nobody knows the loader", "LABEL=second", "", first, first, nil},
		{"nothing mounted", "LABEL=second", loader, "", "", nil},
		{"by the name of a device", second, loader, first, second, nil},
		{"none fits", "LABEL=nowhere", loader, first, first, nil},
		{"the same", "LABEL=first", loader, first, first, nil},
		{"another", "LABEL=second", loader, first, second, nil},
		{"several fit, and the loader's disk has none", "LABEL=twin", loader, twin, twin, blockdev.ErrAmbiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // the loader's disk is waited for
			at := t.TempDir()
			if c.mounted != "" {
				if err := unix.Mount(c.mounted, at, "ext4", unix.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(at, 0); err != nil {
						t.Error(err)
					}
				})
			}
			sys := setup.WithLoader(setup.NewSystem(kernel.New(), kmsg.New(nil, t.Output())), c.loader)
			if err := sys.PreferRoot(at, cmdline(t, "root="+c.root)); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			got := ""
			for line := range strings.Lines(mounts(t)) {
				if f := strings.Fields(line); f[4] == at {
					got = f[slices.Index(f, "-")+2]
				}
			}
			if got != c.want {
				t.Errorf("%q is mounted, want %q", got, c.want)
			}
		})
	}
}
