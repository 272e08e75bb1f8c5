// Package await waits for what may never come, from a pipe or a terminal, until a
// context ends. The error is then the context's cause.
package await

import (
	"context"
	"io"
	"os"
)

// A Reader reads from a pipe or a terminal, where nothing may ever come, until
// the context ends.
type Reader struct {
	ctx context.Context
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(ctx context.Context, r io.Reader) *Reader { return &Reader{ctx: ctx, r: r} }

// Read implements io.Reader.
func (s *Reader) Read(p []byte) (int, error) {
	if len(s.buf) < len(p) {
		s.buf = make([]byte, len(p))
	}
	buf := s.buf[:len(p)] // not p: the caller may use that again when we have given up
	n, err := Call(s.ctx, func() (int, error) { return s.r.Read(buf) })
	if s.ctx.Err() != nil {
		s.buf = nil // the read may go on
	}
	return copy(p, buf[:n]), err
}

// Open opens what may be a pipe, which waits for a writer, until the context
// ends.
func Open(ctx context.Context, name string) (*os.File, error) {
	return Call(ctx, func() (*os.File, error) { return os.Open(name) })
}

// Call returns what f returns, or the cause of the context's end if that comes first.
// f runs on then; nobody hears of it.
func Call[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
