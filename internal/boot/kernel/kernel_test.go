package kernel_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
		if err := k.Need(f); err != nil || f != kernel.EROFSFile && !k.Has(f) || k.Lacks(f) {
			t.Errorf("%s: %v, has it %t, lacks it %t", f.Name(), err, k.Has(f), k.Lacks(f))
		}
	}
}

func TestWhatIsForcedOffStaysOff(t *testing.T) {
	k := kernel.New(kernel.OverlayVerity)
	k.Learn(kernel.OverlayVerity, kernel.Present)
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

func TestAnUnprobedFeatureIsUnknownUntilItIsUsed(t *testing.T) {
	for _, learnt := range []kernel.Presence{kernel.Absent, kernel.Present} {
		k := kernel.New()
		if k.Has(kernel.EROFSFile) || k.Lacks(kernel.EROFSFile) || k.Need(kernel.EROFSFile) != nil {
			t.Error("something is known of it before anybody tried")
		}
		k.Learn(kernel.EROFSFile, kernel.Unknown)
		k.Learn(kernel.EROFSFile, learnt)
		if k.Has(kernel.EROFSFile) != (learnt == kernel.Present) || k.Lacks(kernel.EROFSFile) != (learnt == kernel.Absent) {
			t.Errorf("after learning %d: has it %t, lacks it %t", learnt, k.Has(kernel.EROFSFile), k.Lacks(kernel.EROFSFile))
		}
	}
}

// probed are all features that have a probe.
var probed = []kernel.Feature{kernel.MountAPI, kernel.EROFS, kernel.EROFSACL, kernel.Overlay, kernel.OverlayData, kernel.OverlayVerity, kernel.OverlayAppend, kernel.OverlayFD}

// like is a kernel that has all but what is changed.
func like(change func(f *kernel.Fake)) *kernel.Kernel {
	f := kernel.Fake{
		Open: func(string) error { return nil },
		Set: func(_, key string) (string, error) {
			if key == "composefs-probe" {
				return unknownParameter(key)
			}
			return "", nil
		},
	}
	change(&f)
	return kernel.On(f)
}

func unknownParameter(key string) (string, error) {
	return "e overlay: Unknown parameter '" + key + "'\n", unix.EINVAL
}

// refusing has an option of a file system answered in its own way.
func refusing(fstype, option, says string, err error) func(*kernel.Fake) {
	return func(f *kernel.Fake) {
		set := f.Set
		f.Set = func(t, key string) (string, error) {
			if t == fstype && key == option {
				return says, err
			}
			return set(t, key)
		}
	}
}

// opening has every file system answered so.
func opening(err error, filtered bool) func(*kernel.Fake) {
	return func(f *kernel.Fake) { f.Open, f.Filtered = func(string) error { return err }, filtered }
}

// A probe that finds nothing out is no answer: neither that the feature is there, nor
// that it isn't.
func TestAProbeTellsPresentAbsentAndUnknown(t *testing.T) {
	overlay := []kernel.Feature{kernel.OverlayData, kernel.OverlayVerity, kernel.OverlayAppend, kernel.OverlayFD}
	unknown := func(err error) func(*kernel.Fake) { return opening(err, false) }
	_, einval := unknownParameter("")
	for _, c := range []struct {
		name    string
		change  func(*kernel.Fake)
		absent  []kernel.Feature
		unknown []kernel.Feature
	}{
		{"everything", func(*kernel.Fake) {}, nil, nil},

		{"no mount calls", opening(unix.ENOSYS, false), probed, nil},
		{"mount calls that a filter hides", opening(unix.ENOSYS, true), nil, probed},
		{"no permission", unknown(unix.EPERM), nil, probed},
		{"no memory", unknown(unix.ENOMEM), nil, probed},
		{"no free descriptor", unknown(unix.EMFILE), nil, probed},
		{"no EROFS", func(f *kernel.Fake) {
			f.Open = func(fstype string) error {
				if fstype == "erofs" {
					return unix.ENODEV
				}
				return nil
			}
		}, []kernel.Feature{kernel.EROFS, kernel.EROFSACL}, nil},

		{"EROFS without lists", refusing("erofs", "acl", "e erofs: acl options not supported\n", nil), []kernel.Feature{kernel.EROFSACL}, nil},
		{"EROFS that doesn't know the option", refusing("erofs", "acl", "e erofs: Unknown parameter 'acl'\n", unix.EINVAL), []kernel.Feature{kernel.EROFSACL}, nil},
		{"EROFS that can't be asked", refusing("erofs", "acl", "", unix.ENOMEM), nil, []kernel.Feature{kernel.EROFSACL}},
		{"words that can't be read", func(f *kernel.Fake) { f.Words = unix.EPERM }, nil, append([]kernel.Feature{kernel.EROFSACL}, overlay...)},

		{"overlayfs of 6.4, which looks at no option", refusing("overlay", "composefs-probe", "", nil), overlay, nil},
		{"overlayfs that can't be asked", refusing("overlay", "composefs-probe", "", unix.ENOMEM), nil, overlay},
		{"overlayfs that refuses without a word", refusing("overlay", "composefs-probe", "", unix.EINVAL), nil, overlay},
		{"overlayfs of 6.5", refusing("overlay", "verity", "e overlay: Unknown parameter 'verity'\n", einval), []kernel.Feature{kernel.OverlayVerity}, nil},
		{"verity that can't be asked for", refusing("overlay", "verity", "", unix.EPERM), nil, []kernel.Feature{kernel.OverlayVerity}},
		{"overlayfs of 6.6", func(f *kernel.Fake) {
			for _, key := range []string{"lowerdir+", "lowerdir+ by descriptor"} {
				refusing("overlay", key, "e overlay: Unknown parameter 'lowerdir+'\n", einval)(f)
			}
		}, []kernel.Feature{kernel.OverlayAppend, kernel.OverlayFD}, nil},
		{"a root that can't be a layer", refusing("overlay", "lowerdir+", "e overlay: filesystem on / not supported as lowerdir\n", einval), nil, []kernel.Feature{kernel.OverlayAppend}},
		{"overlayfs of 6.12", refusing("overlay", "lowerdir+ by descriptor", "e overlay: Bad value for 'lowerdir+'\n", einval), []kernel.Feature{kernel.OverlayFD}, nil},
		{"overlayfs of 6.13", refusing("overlay", "lowerdir+ by descriptor", "", unix.EBADF), []kernel.Feature{kernel.OverlayFD}, nil},
		{"a root that can't be opened", refusing("overlay", "lowerdir+ by descriptor", "", unix.ENFILE), nil, []kernel.Feature{kernel.OverlayFD}},
	} {
		k := like(c.change)
		for _, f := range probed {
			absent, unknown := slices.Contains(c.absent, f), slices.Contains(c.unknown, f)
			if k.Lacks(f) != absent || k.Has(f) != (!absent && !unknown) {
				t.Errorf("%s: %s: has it %t, lacks it %t; want absent %t, unknown %t", c.name, f.Name(), k.Has(f), k.Lacks(f), absent, unknown)
			}
			if _, known := k.Known()[f.Name()]; known == unknown {
				t.Errorf("%s: what is known is %v, want %s in it %t", c.name, k.Known(), f.Name(), !unknown)
			}
		}
	}
}

// Where the kernel would report that it lacks a feature, it is asked to use it. Where it
// would go on without a word, it isn't.
func TestWhatIsUnknownIsTriedOrRefused(t *testing.T) {
	k := like(opening(unix.EPERM, false))
	for _, f := range probed {
		err := k.Need(f)
		if f != kernel.EROFSACL {
			if err != nil {
				t.Errorf("%s: %v, want it to be tried", f.Name(), err)
			}
			continue
		}
		var unknown *kernel.UnknownError
		if !errors.As(err, &unknown) || unknown.Feature != f || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), k.Release()) {
			t.Errorf("%s: %v, want an UnknownError with its cause", f.Name(), err)
		}
	}
}

// What one probe didn't find out another may, once there is memory again.
func TestWhatIsUnknownIsAskedAgain(t *testing.T) {
	var fails error = unix.ENOMEM
	k := like(func(f *kernel.Fake) { f.Open = func(string) error { return fails } })
	if k.Has(kernel.OverlayVerity) || k.Lacks(kernel.OverlayVerity) {
		t.Error("it is known")
	}
	fails = nil
	if !k.Has(kernel.OverlayVerity) {
		t.Error("it is still unknown")
	}
	fails = unix.ENODEV
	if !k.Has(kernel.OverlayVerity) {
		t.Error("it was forgotten")
	}
}

// The same with the real kernel, of which a seccomp filter hides something.
func TestAFilterIsNotTheKernel(t *testing.T) {
	testutil.RequireRoot(t)
	needsLists := "find out whether kernel " + kernel.New().Release()
	for _, c := range []struct {
		name  string
		call  int
		errno unix.Errno
		known map[string]bool
		says  string // why an image with lists can't be mounted
	}{
		{"nothing", unix.SYS_FSPICK, unix.EPERM, map[string]bool{
			"mount-api": true, "erofs": true, "erofs-acl": true, "overlay": true, "overlay-data": true, "overlay-verity": true, "overlay-append": true, "overlay-fd": true}, "<nil>"},
		{"the mount calls, as if there were none", unix.SYS_FSOPEN, unix.ENOSYS, map[string]bool{}, needsLists},
		{"the mount calls", unix.SYS_FSOPEN, unix.EPERM, map[string]bool{}, needsLists},
		{"options", unix.SYS_FSCONFIG, unix.EPERM, map[string]bool{"mount-api": true, "erofs": true, "overlay": true}, needsLists},
		{"options, in the words of a kernel that lacks them", unix.SYS_FSCONFIG, unix.EINVAL, map[string]bool{"mount-api": true, "erofs": true, "overlay": true}, needsLists},
	} {
		known, says := filtered(t, c.call, c.errno)
		if !maps.Equal(known, c.known) || !strings.HasPrefix(says, c.says) {
			t.Errorf("without %s, %v: known is %v, %s; want %v, %s", c.name, c.errno, known, says, c.known, c.says)
		}
	}
}
