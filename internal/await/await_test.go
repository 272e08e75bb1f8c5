package await_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/await"
)

var errStop = errors.New("stop")

func TestAWaitEndsWithTheContextAndItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	never, writer := io.Pipe() // nothing is ever written
	defer writer.Close()
	found := make(chan error, 3)
	go func() { _, err := await.NewReader(ctx, never).Read(make([]byte, 10)); found <- err }()
	go func() { _, err := await.Open(ctx, fifo); found <- err }()
	go func() {
		_, err := await.Call(ctx, func() (int, error) { select {} })
		found <- err
	}()
	cancel(errStop)
	for range 3 {
		if err := <-found; !errors.Is(err, errStop) {
			t.Errorf("found %v", err)
		}
	}
	// Let the open that still waits end.
	if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil {
		f.Close()
	}
}

func TestWhatComesIsReturned(t *testing.T) {
	b, err := io.ReadAll(await.NewReader(t.Context(), strings.NewReader("all of it")))
	if string(b) != "all of it" || err != nil {
		t.Errorf("found %q, %v", b, err)
	}
	n, err := await.Call(t.Context(), func() (int, error) { return 7, errStop })
	if n != 7 || !errors.Is(err, errStop) {
		t.Errorf("found %d, %v", n, err)
	}
}
