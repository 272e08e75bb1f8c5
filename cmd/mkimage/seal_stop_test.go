package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A file that can't be replaced, or a full disk, stops a sealing where it is: the image
// goes on to boot, with each key that signed both seals, and sealing once more works.
func TestSealingThatIsStoppedLeavesASealThatBoots(t *testing.T) {
	testutil.RequireRoot(t) // to mount, and to make files immutable
	testutil.RequireTool(t, "chattr")
	dir := t.TempDir()
	mountImage("ext4", "mke2fs", "-q", "-t", "ext4")(t, dir)
	mkimage := func(args ...string) (string, error) {
		out, err := program(t, args...).CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := mkimage(args...)
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(out)
	}
	one, two, repo, root := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "repo"), filepath.Join(dir, "root")
	must("key", "new", one)
	must("key", "new", two)
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(root, "file"), []byte("text"), 0o644)); err != nil {
		t.Fatal(err)
	}
	digest := must("build", "--quiet", "--repo", repo, "--ref", "stable", "--seal", one+".key", "--seal", two+".key", "--sequence", "1", root)
	sequence := 1
	seal := func() (string, error) {
		sequence++
		return mkimage("seal", "--quiet", "--repo", repo, "--key", one+".key", "--key", two+".key", "--sequence", fmt.Sprint(sequence), "stable")
	}
	boots := func(when string) {
		t.Helper()
		for _, key := range []string{one, two} {
			if out, err := mkimage("verify", "--quiet", "--repo", repo, "--keys", key+".pub", "stable"); err != nil {
				t.Errorf("%s, %s: %s", when, filepath.Base(key), out)
			}
		}
	}
	boots("sealed")

	files, err := filepath.Glob(filepath.Join(repo, "seals", digest+".seal*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("found %q, %v; want a text and two signatures", files, err)
	}
	for _, name := range files {
		for _, on := range []string{"+i", "-i"} {
			if out, err := exec.Command("chattr", on, name).CombinedOutput(); err != nil {
				t.Fatalf("chattr %s: %s", on, out)
			}
			out, err := seal()
			if (err == nil) != (on == "-i") {
				t.Errorf("%s of %s: %v: %s", on, filepath.Base(name), err, out)
			}
			t.Logf("%s of %s: %s", on, strings.TrimPrefix(filepath.Base(name), digest), out)
			boots(on + " of " + filepath.Base(name))
		}
		if left, _ := filepath.Glob(filepath.Join(repo, "seals", "*")); len(left) != 3 {
			t.Errorf("sealed again, found %q", left)
		}
	}

	// Each file more that fits lets the sealing come one step further.
	filler := fill(t, filepath.Join(dir, "filler"))
	stopped := 0
	for free := 0; free < 12; free++ {
		out, err := seal()
		boots(fmt.Sprint("full but for ", free, " blocks"))
		if err == nil {
			break
		}
		if stopped++; !strings.Contains(out, "no space left") {
			t.Errorf("found %s", out)
		}
		shrink(t, filler, 4096)
	}
	if stopped == 0 {
		t.Error("the full file system stopped nothing")
	}
}

// fill fills the file system with one file.
func fill(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return name
}

func shrink(t *testing.T, name string, by int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err == nil {
		err = os.Truncate(name, info.Size()-by)
	}
	if err != nil {
		t.Fatal(err)
	}
}
