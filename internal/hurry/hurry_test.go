package hurry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/hurry"
)

// upload is more than the buffers of a connection hold.
var upload = make([]byte, 64<<20)

func post(t *testing.T, serve http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	client := &http.Client{Transport: hurry.Transport{RoundTripper: http.DefaultTransport, Patience: time.Second}}
	answer, err := client.Post(server.URL, "", bytes.NewReader(upload))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func TestAnUploadMayTakeLongerThanTheAnswer(t *testing.T) {
	err := post(t, func(w http.ResponseWriter, r *http.Request) {
		for range 15 { // of 200 ms, while the answer has to come in two seconds
			io.CopyN(io.Discard, r.Body, int64(len(upload))/15)
			time.Sleep(200 * time.Millisecond)
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "done")
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAServerThatTakesNoMoreIsGivenUp(t *testing.T) {
	done := make(chan struct{})
	err := post(t, func(http.ResponseWriter, *http.Request) { <-done })
	close(done)
	if !errors.Is(err, hurry.ErrSlow) {
		t.Error(err)
	}
}
