// Package hurry has what our HTTP clients are careful about. It gives up servers that send too
// slowly: a client that waits for ever is no better than one that fails. And it isn't led into
// private networks.
package hurry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A server answers within two periods of the patience, and then sends no less than slowest
// bytes in each, or the connection is given up.
const (
	Patience = time.Minute // by default
	slowest  = 16 << 10
)

// ErrSlow is the cause if a server sends too little.
var ErrSlow = errors.New("the server sends too slowly")

// A Transport gives up a server that answers too slowly.
type Transport struct {
	http.RoundTripper
	Patience time.Duration
}

// RoundTrip implements http.RoundTripper. As long as the server takes what it is sent, its
// answer isn't late.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	late := newDeadline(2*t.Patience, func() { cancel(fmt.Errorf("%w: no answer in %v", ErrSlow, 2*t.Patience)) })
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = taken{r.Body, late}
	}
	res, err := t.RoundTripper.RoundTrip(r)
	late.stop()
	if err != nil {
		err = withCause(ctx, err)
		cancel(nil)
		return nil, err
	}
	res.Body = newHurried(ctx, ending{res.Body, cancel}, t.Patience, slowest)
	return res, nil
}

// A deadline can be moved until it is stopped.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	period time.Duration
}

func newDeadline(period time.Duration, passed func()) *deadline {
	return &deadline{timer: time.AfterFunc(period, passed), period: period}
}

// move lets the period begin anew.
func (d *deadline) move() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Reset(d.period)
	}
}

func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	d.timer = nil
}

// taken is the body of a request. It is read whenever the connection has room for more, also
// after the answer has come.
type taken struct {
	io.ReadCloser
	answer *deadline
}

func (t taken) Read(p []byte) (int, error) {
	t.answer.move()
	return t.ReadCloser.Read(p)
}

// withCause is the reason why the context has ended, if it has.
func withCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ending is the body of an answer that ends the context of its request.
type ending struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (e ending) Close() error {
	err := e.ReadCloser.Close()
	e.cancel(nil)
	return err
}

// hurried reads from the network, and gives up when too little comes.
type hurried struct {
	io.ReadCloser
	ctx    context.Context
	period time.Duration
	least  int64
	timer  *time.Timer
	begun  time.Time // the current period
	n      int64     // bytes in it
	slow   chan struct{}
}

func newHurried(ctx context.Context, r io.ReadCloser, period time.Duration, least int64) *hurried {
	h := &hurried{ReadCloser: r, ctx: ctx, period: period, least: least, begun: time.Now(), slow: make(chan struct{})}
	h.timer = time.AfterFunc(2*period, func() { // nothing has come
		close(h.slow)
		r.Close()
	})
	return h
}

func (h *hurried) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.n += int64(n)
	select {
	case <-h.slow:
		return 0, fmt.Errorf("%w: nothing in %v", ErrSlow, 2*h.period)
	default:
	}
	if err != nil {
		return n, withCauseOrEOF(h.ctx, err)
	}
	if passed := time.Since(h.begun); passed >= h.period {
		if h.n < h.least {
			return 0, fmt.Errorf("%w: %d bytes in %v", ErrSlow, h.n, passed.Round(time.Second))
		}
		h.begun, h.n = time.Now(), 0
	}
	h.timer.Reset(2 * h.period)
	return n, nil
}

func withCauseOrEOF(ctx context.Context, err error) error {
	if err == io.EOF {
		return err
	}
	return withCause(ctx, err)
}

func (h *hurried) Close() error {
	h.timer.Stop()
	return h.ReadCloser.Close()
}
