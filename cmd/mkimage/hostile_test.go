package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// mkimageAs runs this test binary as mkimage, as another user if uid isn't 0.
func mkimageAs(t *testing.T, uid uint32, args ...string) (stderr string, status int) {
	t.Helper()
	return runAs(t, uid, reachableProgram(t, filepath.Dir(args[len(args)-1])), args...)
}

// reachableProgram puts mkimage into a directory that every user can reach.
func reachableProgram(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "mkimage")
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return program
}

func runAs(t *testing.T, uid uint32, program string, args ...string) (stderr string, status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var b bytes.Buffer
	cmd.Stderr = &b
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

func TestAnUnreadableFileIsSaid(t *testing.T) {
	testutil.RequireRoot(t) // to be somebody else
	dir := reachable(t)
	tree := filepath.Join(dir, "tree")
	os.Mkdir(tree, 0o755)
	os.WriteFile(filepath.Join(tree, "shadow"), []byte(strings.Repeat("x", 100)), 0o600)
	stderr, status := mkimageAs(t, 65534, "build", tree)
	if status != exitFailure || !strings.HasPrefix(stderr, "mkimage: read "+tree+"/shadow: permission denied\nhint: ") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if stderr, status := mkimageAs(t, 0, "build", tree); status != 0 {
		t.Errorf("as root, which is the remedy: status %d: %s", status, stderr)
	}
}

func TestAFullFileSystemLeavesTheRepositoryAsItWas(t *testing.T) {
	testutil.RequireRoot(t) // to mount
	dir := reachable(t)
	small := filepath.Join(dir, "small")
	os.Mkdir(small, 0o755)
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(small, unix.MNT_DETACH)
	tree, repo := filepath.Join(dir, "tree"), filepath.Join(small, "repo")
	os.Mkdir(tree, 0o755)
	os.WriteFile(filepath.Join(tree, "a"), bytes.Repeat([]byte("a"), 1000), 0o644)
	if stderr, status := mkimageAs(t, 0, "build", "--repo", repo, tree); status != 0 {
		t.Fatal(stderr)
	}
	before := filesIn(t, repo)
	for _, name := range []string{"b", "c", "d"} {
		os.WriteFile(filepath.Join(tree, name), bytes.Repeat([]byte(name), 500_000), 0o644)
	}
	stderr, status := mkimageAs(t, 0, "build", "--repo", repo, tree)
	if status != exitFailure || !strings.Contains(stderr, "no space left on device\nhint: free some space on the file system of "+repo+" and try again") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if after := filesIn(t, repo); before != after {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// reachable is a directory that every user can reach.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mkimage-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func filesIn(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%P %l %s\\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
