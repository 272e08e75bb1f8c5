package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/fsck"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// A store is a repository.
type store struct {
	t   *testing.T
	dir string
	*repo.Repo
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	s := &store{t, dir, r}
	s.must(err)
	t.Cleanup(func() { r.Close() })
	return s
}

func (s *store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func content(i int) string { return strings.Repeat(fmt.Sprintf("content %d ", i), 100+i*100) }

// image adds an image with so many files.
func (s *store) image(files int) verity.Digest {
	s.t.Helper()
	stage, err := s.Begin()
	s.must(err)
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for i := range files {
		d, err := stage.PutBytes([]byte(content(i)))
		s.must(err)
		s.must(root.Add(fmt.Sprintf("f%04d", i), &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: uint64(len(content(i))), Object: d, Payload: d.ObjectPath()}))
	}
	tree.Relink(root)
	d, _, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, erofs.V1) })
	s.must(err)
	s.must(stage.Commit())
	s.must(s.AddImage(d))
	return d
}

func object(i int) verity.Digest { return verity.Sum(verity.SHA256, []byte(content(i))) }

func (s *store) sound() {
	s.t.Helper()
	report, err := fsck.Check(context.Background(), s.Repo, fsck.Options{})
	s.must(err)
	if len(report.Findings) > 0 {
		s.t.Errorf("found %+v", report.Findings)
	}
}

func (s *store) fetch(from string, d verity.Digest) (fetch.Fetched, error) {
	s.t.Helper()
	origin, err := fetch.Open(from)
	s.must(err)
	defer origin.Close()
	return fetch.Image(context.Background(), s.Repo, origin, d, nil)
}

// serve serves the files of a repository.
func (s *store) serve(wrap func(http.Handler) http.Handler) (url string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	files := http.FileServer(http.Dir(s.dir))
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		files.ServeHTTP(w, r)
	})
	handler := http.Handler(counted)
	if wrap != nil {
		handler = wrap(counted)
	}
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	return server.URL + "/", requests
}

func TestOnlyWhatIsMissingIsFetched(t *testing.T) {
	from := newStore(t)
	first, second := from.image(20), from.image(25)
	url, requests := from.serve(nil)
	for name, origin := range map[string]string{"directory": from.dir, "HTTP": url} {
		t.Run(name, func(t *testing.T) {
			to := newStore(t)
			requests.Store(0)
			done, err := to.fetch(origin, first)
			if err != nil || done.Objects != 21 || done.Stats.Stored != 21 {
				t.Fatalf("found %+v, %v", done, err)
			}
			done, err = to.fetch(origin, second)
			if err != nil || done.Objects != 26 || done.Stats.Stored != 6 || done.Stats.Present != 20 {
				t.Errorf("found %+v, %v", done, err)
			}
			if done, err := to.fetch(origin, second); err != nil || done.Stats.Stored != 0 {
				t.Errorf("again: found %+v, %v", done, err)
			}
			if n := requests.Load(); name == "HTTP" && n != 27 {
				t.Errorf("want 27 requests, found %d", n)
			}
			to.sound()
		})
	}
}

// What is damaged is fetched too.
func TestDamagedObjectsAreReplaced(t *testing.T) {
	from, to := newStore(t), newStore(t)
	d := from.image(3)
	_, err := to.fetch(from.dir, d)
	to.must(err)
	for _, damaged := range []verity.Digest{object(1), d} {
		name := filepath.Join(to.dir, "objects", damaged.ObjectPath())
		to.must(os.Remove(name))
		to.must(os.WriteFile(name, []byte("x"), 0o444))
	}
	done, err := to.fetch(from.dir, d)
	if err != nil || done.Stats.Stored != 2 || done.Stats.Damaged != 2 {
		t.Errorf("found %+v, %v", done, err)
	}
	to.sound()
}

// Nothing that an origin has wrong gets a name; what it has right stays for the next try.
func TestABadOriginCanOnlyFail(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, right []byte)
		want   error
		says   string
	}{
		"missing": {func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusNotFound) }, fetch.ErrMissing, "404 Not Found"},
		"refused": {func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusForbidden) }, nil, "403 Forbidden"},
		"other":   {func(w http.ResponseWriter, b []byte) { b[7] ^= 1; w.Write(b) }, fetch.ErrWrong, "digest"},
		"short":   {func(w http.ResponseWriter, b []byte) { w.Write(b[1:]) }, fetch.ErrWrong, fmt.Sprintf("want %d bytes, found %d", len(content(1)), len(content(1))-1)},
		"long":    {func(w http.ResponseWriter, b []byte) { w.Write(append(b, 'x')) }, fetch.ErrWrong, fmt.Sprintf("want %d bytes, found more", len(content(1)))},
		"empty":   {func(http.ResponseWriter, []byte) {}, fetch.ErrWrong, "found 0"},
		"cut":     {func(w http.ResponseWriter, b []byte) { w.Header().Set("Content-Length", "99999"); w.Write(b[:10]) }, nil, "unexpected EOF"},
		"packed":  {func(w http.ResponseWriter, b []byte) { w.Header().Set("Content-Encoding", "gzip"); w.Write(b[:10]) }, fetch.ErrWrong, "found 10"},
		"redirects": {func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(http.StatusFound)
		}, nil, "refused to be led elsewhere: more than 10 times"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := newStore(t), newStore(t)
			d := from.image(20)
			bad := "/objects/" + object(1).ObjectPath()
			url, _ := from.serve(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == bad || r.URL.Path == "/x" {
						c.answer(w, []byte(content(1)))
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			_, err := to.fetch(url, d)
			var object1 *fetch.ObjectError
			if !errors.As(err, &object1) || object1.Digest != object(1) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want %q, found %v", c.says, err)
			}
			if to.HasObject(object(1)) {
				t.Error("the object has its name")
			}
			if _, err := to.LookupImage(d.Hex()); !errors.Is(err, repo.ErrNoImage) {
				t.Error("the image has its name")
			}
			to.sound()
			if done, err := to.fetch(from.dir, d); err != nil || done.Stats.Stored == 21 {
				t.Errorf("the next try: %+v, %v", done, err)
			}
			to.sound()
		})
	}
}

// A server in trouble is asked again.
func TestAServerInTroubleIsAskedAgain(t *testing.T) {
	from, to := newStore(t), newStore(t)
	d := from.image(1)
	var asked atomic.Int64
	url, _ := from.serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := to.fetch(url, d); err != nil {
		t.Error(err)
	}
}

func TestAnImageThatIsNoneIsRefused(t *testing.T) {
	from, to := newStore(t), newStore(t)
	from.image(2)
	if _, err := to.fetch(from.dir, object(1)); err == nil || !strings.Contains(err.Error(), "image "+object(1).Hex()) {
		t.Errorf("found %v", err)
	}
	if _, err := to.fetch(from.dir, verity.Sum(verity.SHA256, nil)); !errors.Is(err, fetch.ErrMissing) {
		t.Errorf("want %v, found %v", fetch.ErrMissing, err)
	}
}

func TestAnInterruptedFetchEnds(t *testing.T) {
	from, to := newStore(t), newStore(t)
	d := from.image(50)
	ctx, cancel := context.WithCancel(context.Background())
	url, _ := from.serve(func(next http.Handler) http.Handler {
		var n atomic.Int64
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 10 {
				cancel()
			}
			next.ServeHTTP(w, r)
		})
	})
	origin, err := fetch.Open(url)
	to.must(err)
	if _, err := fetch.Image(ctx, to.Repo, origin, d, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
	to.sound()
}

func TestWhatIsNoOriginIsRefused(t *testing.T) {
	for _, name := range []string{"ftp://host/x", "http://", "https://host/x?y", "://", "file:///x"} {
		if _, err := fetch.Open(name); !errors.Is(err, fetch.ErrOrigin) {
			t.Errorf("%q: want %v, found %v", name, fetch.ErrOrigin, err)
		}
	}
	if _, err := fetch.Open("/nosuch"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found %v", err)
	}
}
