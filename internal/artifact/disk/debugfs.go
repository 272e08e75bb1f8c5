package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/composefs-go/composefs/internal/disktool"
)

// A session is a running debugfs that is sent commands.
//
// debugfs repeats every line before it executes it, comments too. So when a comment comes
// back, everything before it has been done; see mark and wait.
type session struct {
	ctx   context.Context
	cmd   *exec.Cmd
	stdin io.WriteCloser
	in    *bufio.Writer
	marks chan struct{} // one for every comment; closed when debugfs ends
	said  disktool.Head // what it wrote to standard error
}

const comment = "#"

// maxMarks is how many marks can be on their way.
const maxMarks = 2

// debugfs opens the file system at an offset in the image.
func (w *writer) debugfs(ctx context.Context, offset int64) (*session, error) {
	s := &session{ctx: ctx, marks: make(chan struct{}, maxMarks), said: disktool.Head{Max: 4096}}
	var err error
	if s.cmd, err = w.tools(w.epoch()).Command(ctx, "debugfs", "-w", "-f", "-", fmt.Sprintf("%s?offset=%d", imageFile, offset)); err != nil {
		return nil, err
	}
	s.cmd.Stderr = &s.said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.in = bufio.NewWriterSize(s.stdin, 1<<16)
	if err := s.cmd.Start(); err != nil {
		return nil, s.failed(err)
	}
	go s.listen(out)
	return s, nil
}

// listen reads everything that debugfs prints, so that it never blocks.
func (s *session) listen(out io.Reader) {
	defer close(s.marks)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, comment) {
			s.marks <- struct{}{}
		}
	}
}

// do sends a command. Its arguments may have any character but a line end. mark returns
// the error of sending.
func (s *session) do(command string, args ...string) {
	s.in.WriteString(command)
	for _, a := range args {
		s.in.WriteString(` "` + strings.ReplaceAll(a, `"`, `""`) + `"`)
	}
	s.in.WriteByte('\n')
}

// mark makes debugfs tell when it has done all commands so far.
func (s *session) mark() error {
	s.in.WriteString(comment + "\n")
	if err := s.in.Flush(); err != nil {
		return s.failed(fmt.Errorf("it doesn't listen: %w", err))
	}
	return nil
}

// wait waits until the commands before the oldest mark are done.
func (s *session) wait() error {
	if _, ok := <-s.marks; !ok {
		return s.failed(errors.New("it ended early"))
	}
	return nil
}

// close ends debugfs, whatever came before, and returns what went wrong first.
func (s *session) close(before error) error {
	err := s.stdin.Close()
	for range s.marks {
	}
	err = errors.Join(err, s.cmd.Wait())
	switch complaint := disktool.FirstLine(s.said.String()); {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case complaint != "":
		// A command that fails doesn't make debugfs fail, and the first may be why others did.
		return errors.Join(before, s.failed(errors.New(complaint)))
	case before != nil:
		return before
	case err != nil:
		return s.failed(err)
	}
	return nil
}

func (s *session) failed(err error) error {
	return &disktool.Error{Program: "debugfs", Said: s.said.String(), Err: err}
}
