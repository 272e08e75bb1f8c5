package osfile_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
)

// TestMain is also the process that is killed while it makes a file or a directory.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("OSFILE_HANG_IN"); {
	case dir != "":
		hang(dir)
	default:
		os.Exit(m.Run())
	}
}

// hang makes a file and a directory with temporary names, and waits for its end.
func hang(dir string) {
	d, err := osfile.OpenDir(dir)
	if err == nil {
		_, err = osfile.NewScratchDir(dir, ".tmp-disk-")
	}
	if err != nil {
		fmt.Println("ready", err)
		return
	}
	_ = osfile.Replace(d, "file", 0o644, func(f *os.File) error {
		// As in the moment before it is renamed.
		err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), int(d.Fd()), ".tmp-composefs-1-0", unix.AT_SYMLINK_FOLLOW)
		fmt.Println("ready", err)
		time.Sleep(time.Hour)
		return err
	})
}

// other starts a process that makes a temporary file and directory in dir and waits.
func other(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "OSFILE_HANG_IN="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func namesIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWhatAKilledProcessLeftIsRemovedAndARunningOnesIsNot(t *testing.T) {
	dir := t.TempDir()
	// None of these is ours: another program's, and what no file of ours can be.
	foreign := []string{".tmp-1-0", ".tmp-composefs-2-0", ".tmp-composefs-3-0", ".tmp-disk-4"}
	for i, err := range []error{
		os.WriteFile(filepath.Join(dir, foreign[0]), nil, 0o644),
		os.Mkdir(filepath.Join(dir, foreign[1]), 0o755),
		os.Symlink(foreign[0], filepath.Join(dir, foreign[2])),
		os.WriteFile(filepath.Join(dir, foreign[3]), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	work := func() {
		d, err := osfile.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		osfile.Sweep(d)
		if err := osfile.Replace(d, "file", 0o644, func(*os.File) error { return nil }); err != nil {
			t.Fatal(err)
		}
		scratch, err := osfile.NewScratchDir(dir, ".tmp-disk-")
		if err != nil {
			t.Fatal(err)
		}
		if err := scratch.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	running := other(t, dir)
	before := namesIn(t, dir)
	work()
	after := slices.DeleteFunc(namesIn(t, dir), func(name string) bool { return name == "file" })
	if !slices.Equal(before, after) || len(after) != len(foreign)+2 {
		t.Errorf("while the other process ran: found %q, and then %q", before, after)
	}
	if err := running.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	work()
	if after, want := namesIn(t, dir), append(slices.Clone(foreign), "file"); !slices.Equal(after, want) {
		t.Errorf("after it was killed: found %q, want %q", after, want)
	}
}
