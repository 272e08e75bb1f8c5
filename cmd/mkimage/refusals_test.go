package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func TestTheHintFitsWhatWasRefused(t *testing.T) {
	testutil.RequireRoot(t) // to be somebody else, and to mount
	dir := reachable(t)
	program := reachableProgram(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	mount := func(name, options string, flags uintptr) {
		t.Helper()
		os.MkdirAll(at(name), 0o777)
		os.Chmod(at(name), 0o777)
		if err := unix.Mount("tmpfs", at(name), "tmpfs", flags, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(at(name), unix.MNT_DETACH) })
	}
	must := func(args ...string) {
		t.Helper()
		if stderr, status := runAs(t, 0, program, args...); status != 0 {
			t.Fatalf("%q: %s", args, stderr)
		}
	}
	for _, tree := range []string{"tree", "secret"} {
		os.MkdirAll(at(tree+"/usr"), 0o755)
		os.WriteFile(at(tree+"/usr/large"), []byte(strings.Repeat("x", 200_000)), 0o644)
	}
	os.WriteFile(at("secret/shadow"), []byte("secret"), 0o600)
	os.WriteFile(at("other"), []byte(strings.Repeat("y", 200_000)), 0o644)
	must("key", "new", at("k"))
	must("build", "--repo", at("repo"), "--ref", "x", at("tree"))
	os.Chmod(at("repo"), 0o755)
	for private, names := range map[string][]string{"seals": {"objects"}, "objects": {}, "refs": {"objects"}, "images": {"objects"}} {
		at := func(name string) string { return at("private-" + private + "/" + name) }
		must("build", "--repo", at(""), "--ref", "x", "--seal", filepath.Join(dir, "k.key"), "--sequence", "1", filepath.Join(dir, "tree"))
		os.Chmod(at(""), 0o755)
		for _, name := range names {
			os.Chmod(at(name), 0o755)
		}
		os.Chmod(at(map[string]string{"seals": "seals", "objects": "objects", "refs": "images/refs", "images": "images"}[private]), 0o700)
	}
	mount("full", "size=1m", 0)
	mount("readonly", "size=1m", 0)
	for _, repo := range []string{"full/repo", "readonly/repo"} {
		must("build", "--repo", at(repo), at("tree"))
	}
	os.WriteFile(at("full/filler"), make([]byte, 1<<20), 0o644)
	if err := unix.Mount("", at("readonly"), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(at("changed/usr"), 0o755)
	os.WriteFile(at("changed/usr/file"), []byte(strings.Repeat("y", 200_000)), 0o644)

	const nobody, root = 65534, 0
	for _, tt := range []struct {
		what string
		uid  uint32
		args []string
		want string // of the hint
	}{
		{"a file of the tree", nobody, []string{"build", at("secret")}, "run as root or inside: unshare"},
		{"the repository of another user", nobody, []string{"build", "--repo", at("repo"), at("changed")}, "run it as the owner of " + at("repo")},
		{"a new repository", nobody, []string{"build", "--repo", at("new"), at("tree")}, "name a repository in a directory that you may write to"},
		{"a new repository that would be read-only", root, []string{"build", "--repo", at("readonly/new"), at("tree")}, "name a repository on a file system that is mounted for writing"},
		{"the output", nobody, []string{"build", "--output", at("image"), at("tree")}, "name a file in a directory that you may write to"},
		{"a new key", nobody, []string{"key", "new", at("mine")}, "name a file in a directory that you may write to"},
		{"a secret key", nobody, []string{"seal", "--repo", at("repo"), "--sequence", "1", "x", "--key", at("k.key")}, "a secret key is for its owner alone"},
		{"seals of another user", nobody, []string{"verify", "--repo", at("private-seals"), "--keys", at("k.pub"), "x"}, "run it as the owner of " + at("private-seals")},
		{"objects of another user", nobody, []string{"verify", "--repo", at("private-objects"), "--keys", at("k.pub"), "x"}, "run it as the owner of " + at("private-objects")},
		{"refs of another user", nobody, []string{"verify", "--repo", at("private-refs"), "--keys", at("k.pub"), "x"}, "run it as the owner of " + at("private-refs")},
		{"images of another user", nobody, []string{"verify", "--repo", at("private-images"), "--keys", at("k.pub"), strings.Repeat("0a", 32)}, "run it as the owner of " + at("private-images")},
		{"a repository that is read-only", root, []string{"build", "--repo", at("readonly/repo"), at("changed")}, "remount the file system of " + at("readonly/repo")},
		{"an output that is read-only", root, []string{"build", "--output", at("readonly/image"), at("changed")}, "name a file on a file system that is mounted for writing"},
		{"a new key that is read-only", root, []string{"key", "new", at("readonly/key")}, "name a file on a file system that is mounted for writing"},
		{"a full repository", root, []string{"build", "--repo", at("full/repo"), at("changed")}, "free some space on the file system of "},
		{"a full output", root, []string{"build", "--output", at("full/image"), at("changed")}, "free some space, or name a file on another"},
		{"a one-use key on a full file system", root, []string{"build", "--repo", at("repo"), "--one-use-key", at("full/key.pub"), at("changed")}, "free some space, or name a file on another"},
		{"a disk image on a full file system", root, []string{"disk", "--repo", at("repo"), "--image", "x", "--esp", "a=" + at("other"), "--output", at("full/disk")}, "free some space, or name a file on another"},
	} {
		stderr, status := runAs(t, tt.uid, program, tt.args...)
		if _, hint, _ := strings.Cut(stderr, "\nhint: "); status != exitFailure || !strings.Contains(hint, tt.want) {
			t.Errorf("%s: status %d: %s", tt.what, status, stderr)
		}
	}
}

func TestTheHintIsForTheSiteOfTheError(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("repo", 0o755); err != nil {
		t.Fatal(err)
	}
	var untried []string
	for _, r := range refusals {
		untried = append(untried, r.hint)
	}
	path := func(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	for _, tt := range []struct {
		name string
		err  error
		want string // in the hint; "" is for none
	}{
		{"an immutable file of the repository", path("unlink", "repo/images/x", unix.EPERM), "chattr -ia"},
		{"a file of the repository by a name below it", path("mkdirat", "tmp/build-x", unix.EROFS), "remount the file system of repo"},
		{"an object that is written while the tree is read", refusedAt(inTree, fmt.Errorf("read tree/file: %w", path("write", "repo/tmp/x", unix.EDQUOT))), "free some space on the file system of "},
		{"a name that begins as the repository's does", path("write", "repository", unix.ENOSPC), ""},
		{"an input", path("open", "kernel", unix.EACCES), ""},
		{"nothing known", unix.ENOSPC, ""},
		{"another user's repository", path("open", "repo", unix.EACCES), "run it as the owner of repo"},
		{"a file of the tree", refusedAt(inTree, path("open", "tree/x", unix.EACCES)), "run as root or inside: unshare"},
		{"a key", refusedAt(inKey, path("open", "k.key", unix.EACCES)), "a secret key"},
		{"an output", refusedAt(inOutput, path("open", "out", unix.EACCES)), "that you may write to"},
		{"an output that is read-only", refusedAt(inOutput, path("open", "out", unix.EROFS)), "mounted for writing"},
		{"a full output", refusedAt(inOutput, path("write", "out", unix.ENOSPC)), "free some space, or name a file"},
		{"no error of the system", refusedAt(inOutput, errors.New("other")), ""},
		{"a device", refusedAt(inDevice, path("open", "/dev/sdX", unix.EACCES)), "run it as root"},
		{"a device that is write-protected", refusedAt(inDevice, path("open", "/dev/sdX", unix.EROFS)), "blockdev --setrw /dev/sdX"},
		{"too little room for a disk that goes to a device", refusedAt(inScratch, &disk.SpaceError{Dir: "/var/tmp"}), "set TMPDIR"},
	} {
		untried = slices.DeleteFunc(untried, func(hint string) bool { return hint == refusalHint(tt.err, "repo") })
		if hint := describe(tt.err, "repo").Hint; !strings.Contains(hint, tt.want) || tt.want == "" && hint != "" {
			t.Errorf("%s: %q", tt.name, hint)
		}
	}
	for _, errno := range []unix.Errno{unix.EACCES, unix.EROFS} {
		hint := refusalHint(path("mkdir", "new/objects", errno), "new")
		if !strings.HasPrefix(hint, "name a repository ") {
			t.Errorf("a repository that isn't there yet: %v: %q", errno, hint)
		}
		untried = slices.DeleteFunc(untried, func(other string) bool { return other == hint })
	}
	if len(untried) > 0 {
		t.Errorf("no row has: %q", untried)
	}
}
