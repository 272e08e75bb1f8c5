package setup_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noRandom makes this program another one: it runs its arguments, or itself asks
// for random numbers if there are none, where that is deadly.
const noRandom = "COMPOSEFS_TEST_NO_RANDOM"

// withoutRandom forbids getrandom(2) to this process for ever and executes the
// arguments. It returns only what is wrong.
func withoutRandom(args []string) error {
	runtime.LockOSThread()
	kill := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETRANDOM, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(kill)), Filter: &kill[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	if len(args) == 0 {
		_, err := unix.Getrandom(make([]byte, 1), 0)
		return fmt.Errorf("getrandom isn't deadly here: %w", err)
	}
	if err := os.Unsetenv(noRandom); err != nil {
		return err
	}
	return unix.Exec(args[0], args, os.Environ())
}

func runWithoutRandom(t *testing.T, args ...string) (string, *os.ProcessState) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), noRandom+"=1")
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), c.ProcessState
}

// Early in a boot there may be no entropy, and whoever asks for some waits for it.
// A boot with everything that hashes and verifies, from the runtime's start to the
// end, asks for none.
func TestABootNeedsNoEntropy(t *testing.T) {
	d, key, dir := newDisk(t), newKey(t), t.TempDir()
	if out, state := runWithoutRandom(t); state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Fatalf("who asks for random numbers ends with %v, want SIGSYS: %s", state, out)
	}
	program := buildProgram(t)
	d.seal(t, key, 7)
	writeTestFile(t, dir+"/conf.toml", "[verify]\nfs-verity = \"userspace\"\n")
	writeTestFile(t, dir+"/keys/k.pub", string(key.Public("k").Text()))
	args := []string{program, "--sysroot", d.root, "--config", dir + "/conf.toml", "--keys", dir + "/keys", "--cmdline", "composefs=" + d.image.Hex()}
	for _, extra := range []string{"--dry-run", "--version", "--sysroot=" + d.root} {
		if out, state := runWithoutRandom(t, append(args, extra)...); !state.Success() {
			t.Errorf("with %s: %v\n%s", extra, state, out)
		}
	}
	if record, err := os.ReadFile(recordPath); err != nil || !strings.Contains(string(record), `"status":"valid"`) {
		t.Errorf("record %s, %v: nothing was verified", record, err)
	}
}
