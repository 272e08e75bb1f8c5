package setup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/setup"
)

// After a good boot the root is the verified one, until somebody mounts something else.
func TestOnlyTheVerifiedRootIsSwitchedTo(t *testing.T) {
	const (
		noState   = "[etc]\nmount = \"transient\"\n[var]\nmount = \"volatile\"\n"
		imageEtc  = "[etc]\nmount = \"none\"\n"
		somewhere = "something other than the verified image was mounted at "
	)
	over := func(names ...string) func(*testing.T, disk) {
		return func(t *testing.T, d disk) {
			for _, name := range names {
				mountTmpfs(t, d.path(name))
			}
		}
	}
	device := func(name string) func(*testing.T, disk) {
		return func(t *testing.T, d disk) { mountOver(t, loopDevice(t), d.path(name), "ext4") }
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, d disk)
		want   string // "" if it is switched to
		policy string
	}{
		{"nothing changed", func(*testing.T, disk) {}, "", ""},
		{"a mount of /var, as /etc/fstab may have it", func(t *testing.T, d disk) { mountTmpfs(t, d.path("var")) }, "", ""},
		{"made writable", func(t *testing.T, d disk) {
			if err := unix.Mount("", d.path("var"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}, "", ""},
		{"something over it", over(""), somewhere, ""},
		{"something over /usr", over("usr"), "/usr: the root isn't switched", ""},
		{"something over a directory of /usr", over("usr/lib"), "/usr/lib: the root isn't switched", ""},
		{"something over /sbin", over("sbin"), "/sbin: the root isn't switched", ""},
		{"something over /opt", over("opt"), "/opt: the root isn't switched", ""},
		{"something over /home", over("home"), "", noState},

		{"something over an /etc that is kept", over("etc"), "", ""},
		{"something over a transient /etc", over("etc"), "/etc: the root isn't switched", noState},
		{"something over the image's /etc", over("etc"), "/etc: the root isn't switched", imageEtc},
		{"something over a directory of the image's /etc", over("etc/systemd"), "/etc/systemd: the root isn't switched", imageEtc},
		{"something over a volatile /var", over("var"), "/var: the root isn't switched", noState},
		{"a /var of the image's own", over("var"), "", "[var]\nmount = \"none\"\n"},
		{"something over extensions that are hidden", over("var/lib/extensions"), "/var/lib/extensions: the root isn't switched", imageEtc},
		{"something over extensions that are allowed", over("var/lib/extensions"), "", "[verify]\nextensions = \"allow\"\nfs-verity = \"off\"\n"},

		{"a disk over /run, where units are", device("run"), "/run: the root isn't switched", ""},
		{"a disk over /proc, where the command line is", device("proc"), "/proc: the root isn't switched", ""},
		{"what a hook leaves at /proc and /run", func(t *testing.T, d disk) {
			mountOver(t, "proc", d.path("proc"), "proc")
			mountTmpfs(t, d.path("run"))
		}, "", ""},
		{"something in its place", func(t *testing.T, d disk) {
			if err := unix.Unmount(d.root, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", d.root, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}, "the root isn't switched", ""},
		{"/etc taken away", func(t *testing.T, d disk) {
			if err := unix.Unmount(d.path("etc"), unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		}, "the verified image is no longer mounted at ", ""},
		{"no record of it", func(t *testing.T, d disk) {
			if err := os.Remove(rootPath); err != nil {
				t.Fatal(err)
			}
		}, "was verified in this boot", ""},
		{"something over the record of it", func(t *testing.T, d disk) {
			text, err := os.ReadFile(rootPath)
			if err != nil {
				t.Fatal(err)
			}
			mountTmpfs(t, filepath.Dir(rootPath))
			if err := os.WriteFile(rootPath, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "something is mounted over the record", ""},
		{"a directory over /usr whose name has white space that isn't a blank", func(t *testing.T, d disk) {
			from := filepath.Join(t.TempDir(), "a\u2003b\u00a0c\r\v\fd")
			mountTmpfs(t, filepath.Dir(from))
			if err := os.Mkdir(from, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount(from, d.path("usr"), "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(d.path("usr"), unix.MNT_DETACH) })
		}, "/usr: the root isn't switched", ""},
		{"something over a transient /var", over("var"), "/var: the root isn't switched", "[var]\nmount = \"transient\"\n"},
		{"something over what extensions that are hidden are in", over("var/lib"), "/var/lib: the root isn't switched", imageEtc},
		{"a record that is cut off", func(t *testing.T, d disk) {
			if err := os.WriteFile(rootPath, []byte("1 / "+d.root+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "was verified in this boot", ""},
		{"a record that is endless", func(t *testing.T, d disk) {
			if err := os.Truncate(rootPath, 1<<30); err != nil {
				t.Fatal(err)
			}
		}, "was verified in this boot", ""},
		{"a record of nothing", func(t *testing.T, d disk) {
			if err := os.WriteFile(rootPath, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "was verified in this boot", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			for _, dir := range []string{"etc/systemd", "var/lib/extensions"} {
				if err := os.MkdirAll(d.path("state/deploy", d.image.Hex(), dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			line := "composefs=" + d.image.Hex()
			if err := d.boot(t, line, c.policy); err != nil {
				t.Fatal(err)
			}
			c.change(t, d)
			o := options(t, line, c.policy, 0)
			o.Sysroot = d.root
			err := setup.VerifiedRoot(o)
			if (err == nil) != (c.want == "") || err != nil && (setup.CodeOf(err) != setup.CodeMount || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// mountOver mounts for as long as the test lasts.
func mountOver(t *testing.T, source, at, fstype string) {
	t.Helper()
	if err := unix.Mount(source, at, fstype, 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
}

// A refused boot leaves no record, and no earlier one counts for it.
func TestARefusedBootIsNotVerified(t *testing.T) {
	d := newDisk(t)
	o := options(t, "composefs="+hexA, "", 0)
	o.Sysroot = d.root
	_ = os.Remove(rootPath)
	if err := d.boot(t, "composefs="+hexA, ""); err == nil {
		t.Fatal("booted")
	}
	if err := setup.VerifiedRoot(o); err == nil {
		t.Error("the root would be switched to")
	}
}

// Only the policy lets a command line without an image boot, and says so.
func TestAMissingArgumentIsForThePolicyToPermit(t *testing.T) {
	const optional = "[verify]\nargument = \"optional\"\n"
	for _, c := range []struct {
		name, line, policy string
		keys               int
		refused            bool
		plan               string
	}{
		{"none, nothing written", "quiet", "", 0, true, ""},
		{"none, a key", "quiet", "", 1, true, ""},
		{"none, required", "quiet", "[verify]\nargument = \"require\"\n", 0, true, ""},
		{"none, optional", "quiet", optional, 0, false, "as it is, unverified"},
		{"none, optional, a key", "quiet", optional, 1, false, "as it is, unverified"},
		{"none, optional, on a kernel without anything", "quiet", optional, 0, false, "as it is, unverified"},
		{"one, optional", argA, optional, 1, false, "check its seal: require"},
	} {
		o := options(t, c.line, c.policy, c.keys)
		p, err := setup.NewPlan(o, newKernel())
		if c.refused != (setup.CodeOf(err) == setup.CodeNoArgument) || c.refused != (err != nil) || !strings.Contains(p.String(), c.plan) {
			t.Errorf("%s: %v, plan\n%s", c.name, err, p)
		}
		if err := setup.VerifiedRoot(o); (err == nil) != strings.Contains(c.plan, "unverified") {
			t.Errorf("%s: --verified says %v", c.name, err)
		}
	}
}

func TestAShellIsRefusedWithAReason(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		keys         int
		unread       error
		want         string
	}{
		{"no key", "", 0, nil, ""},
		{"a key", "", 1, nil, "no shell here, the boot ends"},
		{"a key, allowed", "[failure]\nshell = \"allow\"", 1, nil, ""},
		{"a policy that can't be read", "", 0, errors.New("line 3: unknown key"), "line 3: unknown key"},
	} {
		why := setup.Shell(machine(t), options(t, "quiet", c.policy, c.keys), c.unread)
		if (len(why) == 0) != (c.want == "") || !strings.Contains(fmt.Sprint(why), c.want) || len(why) > 0 && kindOf(why[len(why)-1]) != setup.NoShell {
			t.Errorf("%s: %v; want %q", c.name, why, c.want)
		}
	}
}

func TestTheEndWithoutAShell(t *testing.T) {
	for _, c := range []struct {
		line, policy string
		want         bootcfg.FailureAction
	}{
		{"quiet", "", "halt"},
		{"rd.emergency=poweroff", "", bootcfg.PowerOff},
		{"rd.emergency=shell", "", "halt"},
		{"rd.emergency=poweroff", "[failure]\naction = \"reboot\"", bootcfg.Reboot},
	} {
		if got := setup.EndWithoutShell(options(t, c.line, c.policy, 0)); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.line, c.policy, got, c.want)
		}
	}
}

// A shell could load the driver of a TPM whose register nothing has extended yet.
func TestAShellWaitsForTheTPM(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		hasTPM       bool // says the firmware
		fails        error
		refused      bool
	}{
		{"a machine without a TPM that is required", "require", false, fs.ErrNotExist, true},
		{"a machine without a TPM", "if-present", false, fs.ErrNotExist, false},
		{"a TPM whose driver isn't there yet", "if-present", true, fs.ErrNotExist, true},
		{"a broken TPM", "if-present", true, unix.EIO, true},
		{"a register that was spoiled", "require", true, nil, false},
		{"a TPM that isn't asked for", "off", true, unix.EIO, false},
	} {
		f := machine(t)
		f.fails["Extend"], f.hasTPM = c.fails, c.hasTPM
		why := setup.Shell(f, options(t, "quiet", "[measure]\ntpm = \""+c.policy+"\"", 0), nil)
		if (len(why) > 0) != c.refused || c.refused && (len(why) != 2 || kindOf(why[0]) != setup.UnspoiltTPM || !errors.Is(why[0], c.fails)) {
			t.Errorf("%s: %v", c.name, why)
		}
	}
}
