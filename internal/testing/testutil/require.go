// Package testutil lets a test state what it needs from the machine that it runs
// on.
package testutil

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// CI reports whether a test that can't be run must fail, so that no check gets lost
// unnoticed. Outside of CI the test is skipped.
func CI() bool { return os.Getenv("CI") == "true" }

// ToolsRequired reports whether a test must fail if a program is missing: in CI, and
// with COMPOSEFS_TEST_TOOLS=required, which is for a user without root who has run
// setup.
func ToolsRequired() bool { return CI() || os.Getenv("COMPOSEFS_TEST_TOOLS") == "required" }

// RequireTool returns the path of a program that the test needs. If it is missing, the
// test is skipped or fails, see ToolsRequired.
func RequireTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, ToolsRequired(), "the program "+name+" is not installed; make setup installs it")
	}
	return path
}

// RequireFile stops a test that needs a file of the system, as RequireTool does.
func RequireFile(t testing.TB, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		missing(t, ToolsRequired(), err.Error()+"; make setup installs it")
	}
}

// RequireEnv returns the value of an environment variable that the test needs and `make
// test` sets; see RequireTool.
func RequireEnv(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		missing(t, ToolsRequired(), name+" is not set; make test-unit sets it")
	}
	return value
}

// RequireScript returns the output of one of our scripts, the directory of something
// that it fetches. If that fails the test is stopped, as by RequireTool.
func RequireScript(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		missing(t, ToolsRequired(), fmt.Sprintf("%s %s: %v", name, strings.Join(args, " "), err))
	}
	return strings.TrimSpace(string(out))
}

// RequireRoot stops a test that needs root, as RequireTool does.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, CI(), "this test needs root")
	}
}

func missing(t testing.TB, fails bool, what string) {
	t.Helper()
	if fails {
		t.Fatal(what)
	}
	t.Skip(what)
}
