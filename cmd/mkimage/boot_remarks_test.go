package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// stock makes a tree as distributions have it, but for the directories left out.
func stock(t *testing.T, without ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, dir := range []string{
		"boot", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "sysroot", "tmp", "usr/bin",
		"usr/lib/modules/6.12", "usr/lib/systemd", "var",
	} {
		if err := os.MkdirAll("tree/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile("tree/usr/lib/systemd/systemd", []byte("init"), 0o755)
	for name, target := range map[string]string{"sbin": "usr/bin", "lib": "usr/lib", "usr/bin/init": "../../lib/systemd/systemd"} {
		if err := os.Symlink(target, "tree/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range without {
		if err := os.RemoveAll("tree/" + name); err != nil {
			t.Fatal(err)
		}
	}
	times(t)
}

// times gives /usr and what is made by hand the same time.
func times(t *testing.T) {
	t.Helper()
	stamp := []unix.Timespec{{Sec: 1_700_000_000, Nsec: 123_456_789}, {Sec: 1_700_000_000, Nsec: 123_456_789}}
	for _, name := range []string{"usr", "sysroot", "etc", "var", "run"} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, "tree/"+name, stamp, 0); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

const readOnlyRemark = "remark: /home, /root, /srv, /opt and /mnt will be read-only in the booted system"

func TestBootMakesTheMountPointsThatATreeLacks(t *testing.T) {
	testutil.RequireRoot(t) // what is made belongs to root
	for _, without := range [][]string{{}, {"sysroot"}, {"sysroot", "etc", "var"}} {
		stock(t, without...)
		status, digest, errs := mkimageIn(t, "build", "--boot", "tree")
		if status != 0 || !strings.Contains(errs, readOnlyRemark) {
			t.Fatalf("without %v: status %d: %s", without, status, errs)
		}
		if said := strings.Contains(errs, ", which the boot mounts on: made in the image, empty"); said != (len(without) > 0) {
			t.Errorf("without %v: %s", without, errs)
		}
		for _, name := range without {
			if !strings.Contains(errs, "/"+name) {
				t.Errorf("without %s: %s", name, errs)
			}
			os.Mkdir("tree/"+name, 0o755)
		}
		times(t)
		status, byHand, errs := mkimageIn(t, "build", "--boot=composefs-rs-0.9.4", "tree")
		if status != 0 || byHand != digest {
			t.Errorf("without %v: %s, made by hand %s: %s", without, digest, byHand, errs)
		}
	}
}

// A release's digest is one that the release gives: it makes nothing.
func TestBootAsAReleaseMakesNothing(t *testing.T) {
	for _, release := range []string{"composefs-rs-0.9.0", "composefs-rs-0.9.4"} {
		stock(t, "sysroot")
		status, _, errs := mkimageIn(t, "build", "--boot="+release, "tree")
		if status == 0 || !strings.Contains(errs, "want a directory /sysroot, found none: make it, even if it is empty; or say --boot alone") {
			t.Errorf("%s: status %d: %s", release, status, errs)
		}
	}
}

func TestBootSaysWhatWillBeMissed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func() error
		want  string
	}{
		"no init": {func() error { return os.Remove("tree/usr/lib/systemd/systemd") }, "remark: tree has no init program, none of /sbin/init, /usr/lib/systemd/systemd, /etc/init, /bin/init, /bin/sh: "},
		"init in a loop": {func() error {
			os.Remove("tree/usr/bin/init")
			return errors.Join(os.Remove("tree/usr/lib/systemd/systemd"), os.Symlink("init", "tree/usr/bin/init"))
		}, "remark: tree has no init program"},
		"no kernel":      {func() error { return os.RemoveAll("tree/usr/lib/modules") }, "remark: tree has no kernel, as in /usr/lib/modules/VERSION: "},
		"no /tmp":        {func() error { return os.Remove("tree/tmp") }, "remark: tree has no /tmp: "},
		"one read-only":  {func() error { return removeAll("home", "root", "srv", "mnt") }, "remark: /opt will be read-only in the booted system"},
		"/usr/local":     {func() error { return os.MkdirAll("tree/usr/local", 0o755) }, "remark: /home, /root, /srv, /opt, /mnt and /usr/local will be read-only"},
		"a link to /var": {func() error { removeAll("home"); return os.Symlink("var/home", "tree/home") }, "remark: /root, /srv, /opt and /mnt will be read-only"},
		"an attribute": {func() error {
			return unix.Setxattr("tree/usr/lib/systemd/systemd", "user.note", []byte("x"), 0)
		}, `remark: --boot leaves out the extended attribute "user.note" of 1 file`},
		"lists": {func() error {
			// Version 2; the owner, user 1000, the group, the mask and others.
			acl := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\xe8\x03\x00\x00" +
				"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
			return unix.Setxattr("tree/usr/lib/systemd/systemd", "system.posix_acl_access", []byte(acl), 0)
		}, "remark: --boot leaves out the access control lists of 1 file: "},
	} {
		stock(t)
		if err := c.spoil(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		status, digest, errs := mkimageIn(t, "build", "--boot", "tree")
		if status != 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, want %q: %s", name, status, c.want, errs)
		}
		if _, again, errs := mkimageIn(t, "build", "--quiet", "--boot", "tree"); again != digest || errs != "" {
			t.Errorf("%s: quietly: %s, %s", name, again, errs)
		}
	}
	// The boot looks for systemd itself too. There is one other remark about the owner of /usr if
	// that isn't root, as here for an ordinary user.
	remarks := 1
	if os.Getuid() != 0 {
		remarks = 2
	}
	for _, without := range []string{"tree/none", "tree/usr/bin/init"} {
		stock(t)
		os.Remove(without)
		if _, _, errs := mkimageIn(t, "build", "--boot", "tree"); strings.Count(errs, "\n") != remarks {
			t.Errorf("of a tree with all of it but %s: %s", without, errs)
		}
	}
}

func removeAll(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll("tree/" + name); err != nil {
			return err
		}
	}
	return nil
}
