package kernel_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
)

// filter makes this program another one, of which a system call fails: its number and
// the number of the error.
const filter = "COMPOSEFS_TEST_FILTER"

func TestMain(m *testing.M) {
	if what := os.Getenv(filter); what != "" {
		if err := askFiltered(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// An answer is what the filtered process knows of its kernel.
type answer struct {
	Known map[string]bool
	Lists string // the error, for an image with access control lists
}

func askFiltered(what string) error {
	var call, errno uint32
	if _, err := fmt.Sscan(what, &call, &errno); err != nil {
		return err
	}
	runtime.LockOSThread()
	instructions := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	k := kernel.New()
	for _, f := range probed {
		k.Has(f)
	}
	return json.NewEncoder(os.Stdout).Encode(answer{k.Known(), fmt.Sprint(k.Need(kernel.EROFSACL))})
}

// filtered asks the running kernel, while a filter answers one call in its place.
func filtered(t *testing.T, call int, errno unix.Errno) (known map[string]bool, lists string) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", filter, call, errno))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	return a.Known, a.Lists
}
