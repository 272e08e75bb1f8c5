package testutil

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// nested marks the process that RunInPrivateMounts started.
const nested = "COMPOSEFS_TEST_PRIVATE_MOUNTS"

// RunInPrivateMounts runs a package's tests in a mount namespace of their own, so that
// their mounts are neither visible nor left behind outside. Without root the tests run
// in the present namespace, and the ones that need root say so.
func RunInPrivateMounts(m *testing.M) int {
	if os.Geteuid() != 0 || os.Getenv(nested) != "" {
		return m.Run()
	}
	// Not /proc/self/exe, which stays in the namespace that it was opened in: below a chroot
	// the new process would see a path from outside of it as its own.
	program, err := os.Executable()
	if err != nil {
		_, _ = os.Stderr.WriteString("find the program of the tests: " + err.Error() + "\n")
		return 1
	}
	c := exec.Command(program, os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Env = append(os.Environ(), nested+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		_, _ = os.Stderr.WriteString("run the tests in a mount namespace: " + err.Error() + "\n")
		return 1
	}
	return 0
}
