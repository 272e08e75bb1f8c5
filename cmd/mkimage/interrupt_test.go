package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// until waits for something that another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it didn't happen: " + what)
}

// signalled sends a signal to a running mkimage and returns how it ended.
func signalled(t *testing.T, cmd *exec.Cmd, signal unix.Signal, stderr *bytes.Buffer) (status int, said string) {
	t.Helper()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), stderr.String()
}

func TestASignalEndsABuildThatWaitsForInputAndLeavesNothing(t *testing.T) {
	archive := manyObjects(t)
	for signal, want := range map[unix.Signal]struct {
		status int
		said   string
	}{
		unix.SIGINT:  {130, "mkimage: interrupted\n"},
		unix.SIGTERM: {143, "mkimage: terminated by SIGTERM\n"},
	} {
		dir := t.TempDir()
		cmd := program(t, "build", "--repo", "repo", "tar:-")
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := stdin.Write(archive[:len(archive)/2]); err != nil {
			t.Fatal(err)
		}
		until(t, "an object is staged", func() bool {
			staged, _ := filepath.Glob(filepath.Join(dir, "repo/tmp/build-*/*"))
			return len(staged) > 0
		})
		status, said := signalled(t, cmd, signal, &stderr)
		if status != want.status || said != want.said {
			t.Errorf("%v: status %d: %s", signal, status, said)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v: left behind: %v", signal, left)
		}
	}
}

func TestASignalEndsTheWritingOfADisk(t *testing.T) {
	testutil.RequireTool(t, "mke2fs")
	testutil.RequireTool(t, "mkfs.vfat")
	small(t)
	os.WriteFile("loader.efi", make([]byte, 30<<20), 0o644)
	for _, name := range []string{"boot", "sysroot"} {
		os.Mkdir("root/"+name, 0o755)
	}
	if status, _, errs := mkimageIn(t, "build", "--repo", "repo", "--ref", "stable", "--boot", "root"); status != 0 {
		t.Fatal(errs)
	}
	cmd := program(t, "disk", "--json", "--repo", "repo", "--image", "stable", "--esp", "EFI/BOOT/BOOTX64.EFI=loader.efi", "--output", "out/disk.img")
	os.Mkdir("out", 0o755)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the file is begun", func() bool {
		begun, _ := filepath.Glob("out/.tmp-disk.img-*/*")
		return len(begun) > 0
	})
	status, said := signalled(t, cmd, unix.SIGINT, &stderr)
	var f failure
	if err := json.Unmarshal([]byte(said), &f); err != nil || status != 130 || f.Status != 130 || f.Message != "interrupted" {
		t.Errorf("status %d: %s", status, said)
	}
	if left, _ := os.ReadDir("out"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnInterruptedFileIsNotThere(t *testing.T) {
	image := small(t)
	u := newUI(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
	ctx, stop := stoppable(t.Context())
	defer stop()
	u.ctx = ctx
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	err := whyStopped(ctx, u.writeOutputBytes("image", []byte("something else")))
	if describe(err, "").Status != 143 {
		t.Errorf("found %v", err)
	}
	if got, _ := os.ReadFile("image"); !bytes.Equal(got, image) {
		t.Error("the file was replaced")
	}
}
