package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// TPMProgram is the program that emulates a TPM.
const TPMProgram = "swtpm"

// A helper is a process that a machine talks to through a socket.
type helper struct {
	dir       string // for its state and its socket; the name of a socket must be short
	cmd       *exec.Cmd
	complaint strings.Builder
}

// A tpm is a helper that emulates a TPM.
type tpm struct{ *helper }

// helperLimit is the time in which a helper must start to listen.
const helperLimit = 30 * time.Second

// startTPM starts a TPM that keeps its state in a directory, or a new one for "".
func startTPM(ctx context.Context, state string) (tpm, error) {
	h, err := startHelper(ctx, TPMProgram, func(dir, socket string) []string {
		if state != "" {
			dir = state
		}
		return []string{"socket", "--tpm2", "--tpmstate", "dir=" + dir, "--ctrl", "type=unixio,path=" + socket, "--terminate"}
	})
	return tpm{h}, err
}

// startHelper starts a program with the arguments, and waits for its socket.
func startHelper(ctx context.Context, program string, arguments func(dir, socket string) []string) (*helper, error) {
	dir, err := os.MkdirTemp("", "vm-*")
	if err != nil {
		return nil, err
	}
	h := &helper{dir: dir}
	h.cmd = exec.CommandContext(ctx, program, arguments(dir, h.socket())...)
	h.cmd.Stderr = &h.complaint
	if err := h.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for end := time.Now().Add(helperLimit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(h.socket()); err == nil {
			return h, nil
		}
		if time.Now().After(end) {
			h.stop()
			return nil, fmt.Errorf("%s doesn't listen: %s", program, strings.TrimSpace(h.complaint.String()))
		}
	}
}

func (h *helper) socket() string { return filepath.Join(h.dir, "socket") }

// arguments returns the arguments of qemu-system-x86_64.
func (t tpm) arguments() []string {
	return []string{"-chardev", "socket,id=tpm,path=" + t.socket(), "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm"}
}

// stop ends it, if it hasn't ended with its machine.
func (h *helper) stop() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	_ = os.RemoveAll(h.dir)
}
