package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are those of Debian that have the programs that read disks.
var packages = map[string]string{"sfdisk": "fdisk", "debugfs": "e2fsprogs", "mtype": "mtools", "mdir": "mtools"}

// run returns what a program says, at most limit bytes of it. The disk is called
// "disk" in dir, so that no name of a file means anything to the program.
func run(ctx context.Context, dir string, limit int64, stdin, name string, args ...string) ([]byte, string, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		program, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s is not installed; install the package %s", name, packages[name])
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "DEBUGFS_PAGER=__none__", "MTOOLSRC=" + os.DevNull, "MTOOLS_SKIP_CHECK=1"}
	cmd.Stdin = strings.NewReader(stdin)
	out := &bounded{left: limit}
	said := &bounded{left: 1 << 16}
	cmd.Stdout, cmd.Stderr = out, said
	if err := cmd.Run(); err != nil {
		if out.left < 0 {
			err = errTooLong
		}
		return nil, said.String(), fmt.Errorf("%s: %w: %.300s", name, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), said.String(), nil
}

var errTooLong = errors.New("it has more than was to be expected")

// bounded is a buffer that refuses to grow past a size, which ends who writes.
type bounded struct {
	bytes.Buffer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// ReadFrom keeps bytes.Buffer's from being used.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{b}, r) }
