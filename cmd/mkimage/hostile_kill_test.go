package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// manyObjects is an archive of files that become objects, a megabyte in all.
func manyObjects(t *testing.T) []byte {
	t.Helper()
	var headers []tar.Header
	for i := range 20 {
		headers = append(headers, fileHeader(fmt.Sprintf("%02d", i), int64(50_000+i)))
	}
	return archiveOf(t, headers...)
}

// clean builds an archive in a repository of its own. It returns the digest, and what
// is in the repository.
func clean(t *testing.T, archive []byte) (digest, contents string) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo")
	digest, err := build(t, repo, bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return digest, objectsOf(t, repo)
}

func build(t *testing.T, repo string, archive io.Reader) (string, error) {
	t.Helper()
	cmd := program(t, "build", "--quiet", "--repo", repo, "tar:-")
	cmd.Stdin = archive
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, errs.String())
	}
	return string(out), nil
}

// objectsOf lists a repository, without the empty directories that may be left.
func objectsOf(t *testing.T, repo string) string {
	t.Helper()
	out, err := exec.Command("find", repo, "-type", "d", "-o", "-printf", "%P %l %s\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(out), "\n")
	return strings.Join(slices.Sorted(slices.Values(lines)), "")
}

// recovers checks that a build into what an interrupted one has left makes what one
// into nothing makes, and that nothing else stays there.
func recovers(t *testing.T, repo string, archive []byte, digest, contents string) {
	t.Helper()
	got, err := build(t, repo, bytes.NewReader(archive))
	if err != nil || got != digest {
		t.Fatalf("the next build: %v: %s, want %s", err, got, digest)
	}
	if after := objectsOf(t, repo); after != contents {
		t.Errorf("after the next build:\n%swant:\n%s", after, contents)
	}
	if left, _ := os.ReadDir(filepath.Join(repo, "tmp")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	if out, err := program(t, "verify", "--repo", repo, "--objects", strings.TrimSpace(digest)).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
}

// Killed while it reads the archive: after so many bytes of it.
func TestABuildKilledWhileReadingLeavesNothingInTheWay(t *testing.T) {
	archive := manyObjects(t)
	digest, contents := clean(t, archive)
	for part := range 6 {
		repo := filepath.Join(t.TempDir(), "repo")
		cmd := program(t, "build", "--repo", repo, "tar:-")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A pipe holds 64 KiB: what comes before has been read.
		if _, err := stdin.Write(archive[:len(archive)*part/6]); err != nil {
			t.Fatal(err)
		}
		kill(t, cmd)
		recovers(t, repo, archive, digest, contents)
	}
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// Killed at any time from its start to its end: the making of the repository, of
// objects, of the image.
func TestABuildKilledAtAnyTimeLeavesNothingInTheWay(t *testing.T) {
	archive := manyObjects(t)
	begin := time.Now()
	digest, contents := clean(t, archive)
	took := time.Since(begin)
	const times = 24
	for i := range times {
		repo := filepath.Join(t.TempDir(), "repo")
		cmd := program(t, "build", "--repo", repo, "tar:-")
		cmd.Stdin = bytes.NewReader(archive)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(took * time.Duration(i) / times)
		kill(t, cmd)
		recovers(t, repo, archive, digest, contents)
	}
}

// A file system that is full when the repository is made, when objects are added, and
// when the image is, has room again later.
func TestABuildWithoutRoomLeavesNothingInTheWay(t *testing.T) {
	testutil.RequireRoot(t) // to mount
	archive := manyObjects(t)
	digest, contents := clean(t, archive)
	for _, pages := range []int{1, 2, 3, 4, 8, 50, 200, 250, 258, 262} {
		t.Run(fmt.Sprint(pages, " pages"), func(t *testing.T) {
			small := t.TempDir()
			if err := unix.Mount("tmpfs", small, "tmpfs", 0, fmt.Sprintf("nr_blocks=%d", pages)); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(small, unix.MNT_DETACH)
			repo := filepath.Join(small, "repo")
			if _, err := build(t, repo, bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("found %v", err)
			}
			if err := unix.Mount("", small, "", unix.MS_REMOUNT, "size=16m"); err != nil {
				t.Fatal(err)
			}
			recovers(t, repo, archive, digest, contents)
		})
	}
}
