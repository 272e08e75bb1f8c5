package vm_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// kernel is that of the tests; scripts/kernel fetches it once.
func kernel(t *testing.T) string {
	t.Helper()
	return filepath.Join(testutil.RequireScript(t, "../../scripts/kernel", "trixie"), "vmlinuz")
}

// A machine whose guest never ends is ended, and the error says so.
func TestRunEndsAHangingGuest(t *testing.T) {
	testutil.RequireTool(t, vm.Program)
	m := vm.Machine{Name: "no kernel, no disk"}
	_, err := m.Run(t.Context(), filepath.Join(t.TempDir(), "log"), time.Second, nil)
	if !errors.Is(err, vm.ErrTimeout) {
		t.Errorf("error is %v, want one that is ErrTimeout", err)
	}
}

// A kernel without a root panics, the machine ends by itself, and its words are
// kept in the log as well as returned.
func TestRunKeepsTheConsole(t *testing.T) {
	testutil.RequireTool(t, vm.Program)
	m := vm.Machine{Name: "no root", Kernel: kernel(t), CommandLine: "console=ttyS0 panic=-1"}
	log := filepath.Join(t.TempDir(), "log")
	c, err := m.Run(t.Context(), log, 2*time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a kernel's panic took %s", c.Took)
	if !c.Has("Kernel panic") {
		t.Errorf("no panic on the console:\n%s", c.Tail(10))
	}
	if kept, _ := os.ReadFile(log); string(kept) != c.Text {
		t.Errorf("the log has %d bytes, the console %d", len(kept), len(c.Text))
	}
}

// Waiting for a line ends the machine as soon as it is there.
func TestRunStopsAtALine(t *testing.T) {
	testutil.RequireTool(t, vm.Program)
	m := vm.Machine{Name: "a line", Kernel: kernel(t), CommandLine: "console=ttyS0"}
	c, err := m.Run(t.Context(), filepath.Join(t.TempDir(), "log"), 2*time.Minute, regexp.MustCompile(`Linux version`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Has("Kernel panic") {
		t.Error("the machine ran on to the panic")
	}
}
