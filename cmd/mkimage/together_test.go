package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Processes that make a repository at the same moment, with a failing one among them.
func TestProcessesBuildIntoOneRepository(t *testing.T) {
	archive := manyObjects(t)
	digest, contents := clean(t, archive)
	for range 8 {
		repo := filepath.Join(t.TempDir(), "repo")
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				input := archive
				if i == 0 {
					input = archive[:len(archive)/2]
				}
				got, err := build(t, repo, bytes.NewReader(input))
				if failed := err != nil; failed != (i == 0) || !failed && got != digest {
					t.Errorf("build %d: %s, %v", i, got, err)
				}
			})
		}
		group.Wait()
		if after := objectsOf(t, repo); after != contents {
			t.Errorf("found:\n%swant:\n%s", after, contents)
		}
		if left, _ := os.ReadDir(filepath.Join(repo, "tmp")); len(left) > 0 {
			t.Errorf("left in tmp: %v", left)
		}
	}
}

func TestProcessesFillOneStore(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("root", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		os.WriteFile(fmt.Sprint("root/", i), bytes.Repeat([]byte{byte(i)}, 1000), 0o644)
	}
	for range 8 {
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				cmd := program(t, "--digest-store=store", "root", fmt.Sprint("image", i))
				cmd.Args[0] = "mkcomposefs"
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		group.Wait()
		if left := objectsOf(t, "store"); strings.Contains(left, ".tmp-") {
			t.Errorf("left behind:\n%s", left)
		}
		os.RemoveAll("store")
	}
}

func TestAFailedFirstBuildLeavesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	os.Mkdir("root", 0o755)
	os.Mkdir("there", 0o755)
	os.WriteFile("root/file", bytes.Repeat([]byte("x"), 1000), 0o644)
	for name, args := range map[string][]string{
		"no such source":             {"build", "--repo", "repo", "nowhere"},
		"no boot tree":               {"build", "--repo", "repo", "--boot", "root"},
		"half an archive":            {"build", "--repo", "repo", "tar:half"},
		"no such directory":          {"build", "--repo", "repo", "--output", "nowhere/image", "root"},
		"a directory that was there": {"build", "--repo", "there", "--boot", "root"},
	} {
		os.WriteFile("half", manyObjects(t)[:300_000], 0o644)
		if status, _, _ := mkimageIn(t, args...); status == 0 {
			t.Errorf("%s: it was built", name)
		}
		if left, err := os.ReadDir("repo"); err == nil {
			t.Errorf("%s: left behind: %v", name, left)
		}
		if left, err := os.ReadDir("there"); err != nil || len(left) > 0 {
			t.Errorf("%s: the directory that was there has %v, %v", name, left, err)
		}
	}
}
