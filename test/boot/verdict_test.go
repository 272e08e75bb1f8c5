package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Before a machine is asked, mkimage says what it would say: with the same seals,
// keys and policy it comes to the same verdict, with the same status and words.
func TestVerifyAgreesWithTheBoot(t *testing.T) {
	b := need(t)
	for _, r := range slices.Concat(seals, signatures, keys, policies) {
		// The seal's place on the root partition is not that in a repository, and
		// the policy's keys are in the initramfs.
		if r.says == "symbolic link" || r.says == "regular file" || strings.Contains(r.policy, "keys =") {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--quiet", "verify", "--json", "--repo", repoOf(t, b, changedDisk(t, b, r.change))}, r.trust(t, b)...)
			status, said := verdict(t, append(args, b.image))
			if status != r.status || !strings.Contains(said, r.says) {
				t.Errorf("exit status %d, want %d, and %q in what it says:\n%s", status, r.status, r.says, said)
			}
		})
	}
}

// verdict runs mkimage with --json. What it says is the result without spaces, and the
// message of an error as people read it.
func verdict(t *testing.T, args []string) (status int, said string) {
	t.Helper()
	cmd := exec.Command(shared.path("mkimage"), args...)
	var result, refusal, compact bytes.Buffer
	cmd.Stdout, cmd.Stderr = &result, &refusal
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if result.Len() > 0 {
		if err := json.Compact(&compact, result.Bytes()); err != nil {
			t.Fatalf("%v in %s", err, &result)
		}
	}
	var e struct{ Message string }
	if refusal.Len() > 0 {
		if err := json.Unmarshal(refusal.Bytes(), &e); err != nil {
			t.Fatalf("%v in %s", err, &refusal)
		}
	}
	return cmd.ProcessState.ExitCode(), compact.String() + "\n" + e.Message
}

// repoOf is the repository with the seals of a disk.
func repoOf(t *testing.T, b base, disk string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if _, err := run("cp", "-al", b.repo, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "seals")); err != nil {
		t.Fatal(err)
	}
	if _, err := run("debugfs", "-R", "rdump /composefs/seals "+dir, fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// trust are the options of mkimage verify for the row's keys and policy.
func (r row) trust(t *testing.T, b base) []string {
	t.Helper()
	root := t.TempDir()
	files := []string{b.pub}
	if r.keys != nil {
		files = r.keys(b)
	}
	entries := append(b.fill(r.initrd), entry{path: keysDir})
	if r.policy != "" {
		entries = append(entries, entry{path: policyPath, content: r.policy})
	}
	for _, e := range entries {
		e.put(t, root)
	}
	for _, f := range files {
		if _, err := run("cp", f, filepath.Join(root, keysDir)); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	if keys, _ := os.ReadDir(filepath.Join(root, keysDir)); len(keys) > 0 {
		args = append(args, "--keys", filepath.Join(root, keysDir))
	}
	if policy := filepath.Join(root, policyPath); exists(policy) {
		args = append(args, "--policy", policy)
	}
	return args
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
