package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Program is the program that runs a Machine.
const Program = "qemu-system-x86_64"

// ErrTimeout is returned when a guest neither ended nor printed the expected line in
// time.
var ErrTimeout = errors.New("the guest did not end in time")

// Run boots m and returns what it printed, when it has ended or when a line
// matches until (nil: never). The console goes to the file log as it comes; the
// text is returned with an error too.
func (m Machine) Run(ctx context.Context, log string, limit time.Duration, until *regexp.Regexp) (Console, error) {
	out, err := os.Create(log)
	if err != nil {
		return Console{}, fmt.Errorf("keep the console of %s: %w", m.Name, err)
	}
	defer out.Close()

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := m.arguments()
	if m.TPM {
		t, err := startTPM(ctx, m.TPMState)
		if err != nil {
			return Console{}, fmt.Errorf("start the TPM of %s: %w", m.Name, err)
		}
		defer t.stop()
		args = append(args, t.arguments()...)
	}
	if m.Share != "" {
		f, err := startShare(ctx, m.Share)
		if err != nil {
			return Console{}, fmt.Errorf("share %s with %s: %w", m.Share, m.Name, err)
		}
		defer f.stop()
		args = append(args, f.arguments(args)...)
	}
	cmd := exec.CommandContext(ctx, Program, args...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return Console{}, fmt.Errorf("read the console of %s: %w", m.Name, err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return Console{}, fmt.Errorf("start %s: %w", Program, err)
	}
	text, seen := watch(io.TeeReader(stdout, out), until)
	if seen {
		cancel()
	}
	err = cmd.Wait()
	c := Console{Text: text, Took: time.Since(begin), Log: log}
	switch {
	case seen:
		return c, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return c, fmt.Errorf("%s, console in %s: %w (%s)", m.Name, log, ErrTimeout, limit)
	case err != nil:
		return c, fmt.Errorf("%s: %s: %w: %s", m.Name, Program, err, strings.TrimSpace(complaints.String()))
	}
	return c, nil
}

// watch reads lines to the end or to the first that matches until.
func watch(r io.Reader, until *regexp.Regexp) (text string, seen bool) {
	var all strings.Builder
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if until != nil && until.MatchString(line) {
			return all.String(), true
		}
		if err != nil {
			return all.String(), false
		}
	}
}
