package main

import (
	"context"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A signalError is why a command that a signal has stopped ends.
type signalError struct{ signal unix.Signal }

func (e signalError) Error() string {
	if e.signal == unix.SIGINT {
		return "interrupted"
	}
	return "terminated by " + unix.SignalName(e.signal)
}

// status is the exit status that a shell reports for a program that died of the signal.
func (e signalError) status() int { return 128 + int(e.signal) }

// stoppable returns a context that ends with the first SIGINT, SIGTERM or SIGHUP, so that
// temporary files are removed. A second one ends what doesn't listen. A program that was
// started to ignore SIGHUP, as by nohup, goes on ignoring it.
func stoppable(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	if !signal.Ignored(unix.SIGHUP) {
		signal.Notify(signals, unix.SIGHUP)
	}
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(signalError{s.(unix.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// whyStopped returns the error of a command, or that it was interrupted: whatever fails
// after a signal fails because of it. The programs that we run get the signal of a
// terminal too, and may have died of it before it reaches us.
func whyStopped(ctx context.Context, err error) error {
	if stop, ok := context.Cause(ctx).(signalError); ok && err != nil {
		return stop
	}
	return err
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
