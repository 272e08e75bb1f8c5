package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// What is mounted in a root file system is named, and what the message offers works.
func TestAMountInTheRootIsNamed(t *testing.T) {
	testutil.RequireRoot(t)
	root := t.TempDir()
	proc := filepath.Join(root, "proc")
	if err := os.Mkdir(proc, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", proc, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(proc, unix.MNT_DETACH) })
	writeIn(t, proc, "f", []byte("x"))
	out, err := program(t, "build", root).CombinedOutput()
	want := "mkimage: another file system (tmpfs) is mounted at " + proc + "; unmount it, or say --mounts=empty for an empty directory in its place, --mounts=include for the mounted files\n"
	if err == nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
	// What isn't read may be written to.
	for rule, fits := range map[string]bool{"empty": true, "include": false} {
		for _, flag := range []string{"--output=" + filepath.Join(proc, "image"), "--repo=" + filepath.Join(proc, "repo")} {
			out, err := program(t, "build", "--mounts="+rule, flag, root).CombinedOutput()
			if refused := strings.Contains(string(out), " is inside "+root); (err == nil) != fits || refused == fits {
				t.Errorf("%s %s: %v: %s", rule, flag, err, out)
			}
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(proc, "image")), os.RemoveAll(filepath.Join(proc, "repo"))); err != nil {
		t.Fatal(err)
	}
	digests := map[string]bool{}
	for _, rule := range []string{"empty", "include"} {
		out, err := program(t, "build", "--mounts="+rule, root).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", rule, err, out)
		}
		digests[string(out)] = true
	}
	if len(digests) != 2 {
		t.Error("both have one digest")
	}
	if out, err := program(t, "build", "--mounts=x", root).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), `mkimage: --mounts: want refuse, empty or include, found "x"`) {
		t.Errorf("%v: %s", err, out)
	}
}
