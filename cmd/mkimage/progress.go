package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/composefs-go/composefs/internal/printable"
)

// A progress shows on a terminal how far a long operation is. Without a terminal it does
// nothing. Any goroutine may change the counters.
type progress struct {
	terminal *os.File
	files    atomic.Int64
	bytes    atomic.Int64
	total    atomic.Int64 // bytes; 0 if unknown

	mu   sync.Mutex
	what string
	quit chan struct{}
	done chan struct{}
}

// showAfter is how long an operation takes before its progress is shown.
const showAfter = time.Second

// start shows the progress of an operation once it takes longer than showAfter.
func (p *progress) start(what string) {
	p.stop()
	if p.terminal == nil {
		return
	}
	p.files.Store(0)
	p.bytes.Store(0)
	p.total.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.quit, p.done = printable.Line(what), make(chan struct{}), make(chan struct{})
	go p.show(p.quit, p.done)
}

// stop removes the line, if one is shown.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quit == nil {
		return
	}
	close(p.quit)
	<-p.done
	p.quit = nil
}

// file counts one file of so many bytes.
func (p *progress) file(size int64) {
	p.files.Add(1)
	p.bytes.Add(size)
}

// reached sets how far an operation with a known end is.
func (p *progress) reached(done, total int64) {
	p.bytes.Store(done)
	p.total.Store(total)
}

func (p *progress) show(quit, done chan struct{}) {
	defer close(done)
	begin := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-quit:
			if shown {
				fmt.Fprint(p.terminal, "\r\x1b[K")
			}
			return
		case now := <-tick.C:
			if now.Sub(begin) < showAfter {
				continue
			}
			shown = true
			fmt.Fprintf(p.terminal, "\r\x1b[K%s", p.line(now.Sub(begin)))
		}
	}
}

func (p *progress) line(elapsed time.Duration) string {
	bytes, total := p.bytes.Load(), p.total.Load()
	s := fmt.Sprintf("%s: %s, %s/s", p.what, size(bytes), size(int64(float64(bytes)/elapsed.Seconds())))
	if files := p.files.Load(); files > 0 {
		s = fmt.Sprintf("%s: %d files, %s, %s/s", p.what, files, size(bytes), size(int64(float64(bytes)/elapsed.Seconds())))
	}
	if total > 0 {
		s += fmt.Sprintf(" (%d %%)", 100*bytes/total)
	}
	return s
}

// size writes a number of bytes for people.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 4 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KKMGT"[unit])
}
