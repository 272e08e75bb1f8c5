package setup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// coverage, if set, is the directory in which the program counts which of its
// statements ran; see scripts/coverage. The go command has a GOCOVERDIR of its own.
const coverage = "COMPOSEFS_TEST_COVERAGE"

func countStatements() {
	if dir := os.Getenv(coverage); dir != "" {
		os.Setenv("GOCOVERDIR", dir)
	}
}

// buildProgram builds composefs-setup-root. With coverage it is several times as
// large and as slow.
func buildProgram(t *testing.T, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "composefs-setup-root")
	if os.Getenv(coverage) != "" {
		flags = append(flags, "-cover", "-covermode=set", "-coverpkg=github.com/composefs-go/composefs/...")
	}
	args := append([]string{"build", "-o", program}, flags...)
	build := exec.Command("go", append(args, "../../../cmd/composefs-setup-root")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}
