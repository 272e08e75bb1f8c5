package main

import (
	"context"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// An interrupted is why a command ends that a signal has stopped.
type interrupted struct{ signal unix.Signal }

func (i interrupted) Error() string {
	if i.signal == unix.SIGINT {
		return "interrupted"
	}
	return "terminated by " + unix.SignalName(i.signal)
}

// status is what a shell has for a program that died of the signal.
func (i interrupted) status() int { return 128 + int(i.signal) }

// stoppable returns a context that ends with the first SIGINT or SIGTERM, so that
// temporary files are removed. A second one ends what doesn't listen.
func stoppable(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(interrupted{s.(unix.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// whyStopped returns the error of a command, or that it was interrupted: what fails
// after a signal fails because of it. Helpers get the signal of a terminal too, and
// die of it sooner than we hear of it.
func whyStopped(ctx context.Context, err error) error {
	if stop, ok := context.Cause(ctx).(interrupted); ok && err != nil {
		return stop
	}
	return err
}

// A stoppableReader reads what may never come, from a pipe or a terminal, until the
// context ends.
type stoppableReader struct {
	ctx context.Context
	r   io.Reader
	buf []byte
}

type read struct {
	n   int
	err error
}

func (s *stoppableReader) Read(p []byte) (int, error) {
	if len(s.buf) < len(p) {
		s.buf = make([]byte, len(p))
	}
	done := make(chan read, 1)
	// Not into p: the caller may use that again when we have given up.
	buf := s.buf[:len(p)]
	go func() {
		n, err := s.r.Read(buf)
		done <- read{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-s.ctx.Done():
		s.buf = nil
		return 0, context.Cause(s.ctx)
	}
}

// openStoppable opens what may be a pipe, for which somebody has to come, until the
// context ends.
func openStoppable(ctx context.Context, name string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// A stoppableWriter writes until the context ends.
type stoppableWriter struct {
	ctx context.Context
	w   io.Writer
	err error // of the first Write that failed
}

func (s *stoppableWriter) Write(p []byte) (int, error) {
	if s.err == nil {
		s.err = context.Cause(s.ctx)
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}
