package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/hurry"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/version"
	"github.com/composefs-go/composefs/verity"
)

// An Origin has objects, as a repository has them: objects/xx/yyyy…. Nothing that it says is
// believed.
type Origin interface {
	// open opens an object. If there is none, the error is an ErrMissing.
	open(ctx context.Context, d verity.Digest) (io.ReadCloser, error)
	fmt.Stringer
	io.Closer
}

// Causes of errors.
var (
	// ErrMissing is the cause when an origin hasn't got an object.
	ErrMissing = errors.New("the origin hasn't got it")
	// ErrWrong is the cause when an origin has something else under an object's name.
	ErrWrong = errors.New("the origin has other content under its name")
	// ErrOrigin is the cause when a text names no origin.
	ErrOrigin = errors.New("want http://HOST/PATH, https://HOST/PATH or a directory")
)

// tries is how often an object is asked for while a server has trouble.
const tries = 3

// Open opens an origin: the URL of a directory on a web server, or a directory.
func Open(name string) (Origin, error) {
	if !strings.Contains(name, "://") {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return directory{root}, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w, found %q", ErrOrigin, name)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // an object is what it is
	transport.MaxIdleConnsPerHost = workers
	return &server{u, &http.Client{Transport: hurry.Transport{RoundTripper: transport, Patience: hurry.Patience}, CheckRedirect: hurry.CheckRedirect}, time.Second}, nil
}

// A directory is an origin beside the repository.
type directory struct{ root *os.Root }

func (o directory) open(_ context.Context, d verity.Digest) (io.ReadCloser, error) {
	f, err := o.root.OpenFile("objects/"+d.ObjectPath(), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	if err := osfile.WantRegular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (o directory) String() string { return o.root.Name() }
func (o directory) Close() error   { return o.root.Close() }

// A server is an origin that HTTP leads to.
type server struct {
	base   *url.URL
	client *http.Client
	pause  time.Duration // before the second try
}

// A statusError is an answer that has no object.
type statusError struct {
	url    string
	status string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: %s", e.url, e.status) }

func (o *server) open(ctx context.Context, d verity.Digest) (io.ReadCloser, error) {
	at := o.base.JoinPath("objects", d.ObjectPath()).String()
	pause := o.pause
	for try := 1; ; try++ {
		body, again, err := o.get(ctx, at)
		if err == nil || !again || try == tries {
			return body, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		pause *= 4
	}
}

// get asks once, and says whether it is worth asking again.
func (o *server) get(ctx context.Context, at string) (body io.ReadCloser, again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, false, err
	}
	request.Header.Set("User-Agent", "composefs-go/"+version.Number)
	answer, err := o.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		return nil, true, err
	}
	switch status := answer.StatusCode; {
	case status == http.StatusOK:
		return answer.Body, false, nil
	case status == http.StatusNotFound, status == http.StatusGone:
		err = fmt.Errorf("%w: %w", ErrMissing, &statusError{at, answer.Status})
	default:
		err = &statusError{at, answer.Status}
		again = status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
	}
	return nil, again, errors.Join(err, answer.Body.Close())
}

func (o *server) String() string { return o.base.Redacted() }

func (o *server) Close() error {
	o.client.CloseIdleConnections()
	return nil
}
