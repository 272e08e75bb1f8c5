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

// TPMProgram is what is a machine's TPM.
const TPMProgram = "swtpm"

// A tpm is the process that a machine talks to by a socket.
type tpm struct {
	dir       string // of its state and its socket; the name of a socket has to be short
	cmd       *exec.Cmd
	complaint strings.Builder
}

// tpmLimit is how long a TPM may take until it listens.
const tpmLimit = 30 * time.Second

func startTPM(ctx context.Context) (*tpm, error) {
	dir, err := os.MkdirTemp("", "tpm-*")
	if err != nil {
		return nil, err
	}
	t := &tpm{dir: dir}
	t.cmd = exec.CommandContext(ctx, TPMProgram, "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--ctrl", "type=unixio,path="+t.socket(), "--terminate")
	t.cmd.Stderr = &t.complaint
	if err := t.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for end := time.Now().Add(tpmLimit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(t.socket()); err == nil {
			return t, nil
		}
		if time.Now().After(end) {
			t.stop()
			return nil, fmt.Errorf("%s doesn't listen: %s", TPMProgram, strings.TrimSpace(t.complaint.String()))
		}
	}
}

func (t *tpm) socket() string { return filepath.Join(t.dir, "socket") }

// arguments are those of qemu-system-x86_64.
func (t *tpm) arguments() []string {
	return []string{"-chardev", "socket,id=tpm,path=" + t.socket(), "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm"}
}

// stop ends it, if it hasn't ended with its machine.
func (t *tpm) stop() {
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait()
	_ = os.RemoveAll(t.dir)
}
