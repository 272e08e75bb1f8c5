package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// Each opens the repository for itself, as a process does. Some of them give up, and
// take away what they made.
func TestBuildsAtOnceDoNotDisturbEachOther(t *testing.T) {
	const builds, rounds = 12, 25
	for range rounds {
		dir := filepath.Join(t.TempDir(), "repo")
		var group sync.WaitGroup
		for i := range builds {
			group.Go(func() {
				if err := buildOne(dir, i); err != nil {
					t.Errorf("build %d: %v", i, err)
				}
			})
		}
		group.Wait()
		r, err := repo.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		refs, err := r.Refs()
		if err != nil || len(refs) != builds-builds/4 {
			t.Fatalf("%d refs, %v", len(refs), err)
		}
		for name, d := range refs {
			for _, content := range contentsOf(name) {
				if f, err := r.OpenObject(verity.Sum(verity.SHA256, content)); err != nil {
					t.Errorf("%s: %v", name, err)
				} else {
					f.Close()
				}
			}
			if _, err := r.Resolve(d.Hex()); err != nil {
				t.Error(err)
			}
		}
		r.Close()
		if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 {
			t.Errorf("left in tmp: %v", left)
		}
		for _, name := range files(t, dir) {
			if strings.Contains(name, ".tmp-") {
				t.Errorf("left behind: %s", name)
			}
		}
	}
}

// contentsOf are an object that all have and one that is a build's own, which stands
// for its image.
func contentsOf(name string) [2][]byte {
	return [2][]byte{bytes.Repeat([]byte("all"), 100), bytes.Repeat([]byte(name), 100)}
}

var errGivenUp = errors.New("given up")

// buildOne does what mkimage build does. Every fourth fails when its objects are there.
func buildOne(dir string, number int) (err error) {
	r, err := repo.Init(dir, v1)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = r.Close()
		} else if discarded := r.Discard(); discarded != nil || !errors.Is(err, errGivenUp) {
			err = errors.Join(err, discarded)
		} else {
			err = nil
		}
	}()
	stage, err := r.Begin()
	if err != nil {
		return err
	}
	defer stage.Abort()
	name := fmt.Sprint("build", number)
	var image verity.Digest
	for _, content := range contentsOf(name) {
		if image, err = stage.PutBytes(content); err != nil {
			return err
		}
	}
	if err := stage.Commit(); err != nil {
		return err
	}
	if number%4 == 3 {
		return errGivenUp
	}
	if err := r.AddImage(image); err != nil {
		return err
	}
	return r.SetRef(name, image)
}

// failed makes a repository and objects in it, and stops there.
func failed(t *testing.T, dir string) *repo.Repo {
	t.Helper()
	r, err := repo.Init(dir, v1)
	if err != nil {
		t.Fatal(err)
	}
	stage := begin(t, r)
	if _, err := stage.PutBytes(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := stage.Commit(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAFailedFirstBuildLeavesNoRepository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	if err := failed(t, dir).Discard(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
	empty := t.TempDir()
	if err := failed(t, empty).Discard(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(empty); len(left) > 0 || err != nil {
		t.Errorf("in the directory that was there: %v, %v", left, err)
	}
}

func TestAFailedBuildTakesAwayNothingThatOthersMade(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dir string) *repo.Repo{
		"a repository that was there": func(t *testing.T, dir string) *repo.Repo {
			r, err := repo.Init(dir, v1)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			return failed(t, dir)
		},
		"somebody has it open": func(t *testing.T, dir string) *repo.Repo {
			r := failed(t, dir)
			other, err := repo.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { other.Close() })
			return r
		},
		"another program holds its lock": func(t *testing.T, dir string) *repo.Repo {
			r := failed(t, dir)
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if err := osfile.Lock(f, false); err != nil {
				t.Fatal(err)
			}
			return r
		},
		"an image of somebody else": func(t *testing.T, dir string) *repo.Repo {
			r := failed(t, dir)
			if err := buildOne(dir, 0); err != nil {
				t.Fatal(err)
			}
			return r
		},
		"streams of composefs-rs": func(t *testing.T, dir string) *repo.Repo {
			r := failed(t, dir)
			os.Mkdir(filepath.Join(dir, "streams"), 0o755)
			return r
		},
	} {
		dir := filepath.Join(t.TempDir(), "repo")
		r := prepare(t, dir)
		before := files(t, dir)
		if err := r.Discard(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := files(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: before %q, after %q", name, before, after)
		}
	}
}

// A link that is replaced comes from below tmp: who is killed in between leaves
// nothing that looks like a ref.
func TestAReplacedRefIsNeverAbsent(t *testing.T) {
	r, dir := open(t)
	a, b := verity.Sum(verity.SHA256, []byte("a")), verity.Sum(verity.SHA256, []byte("b"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			entries, _ := os.ReadDir(filepath.Join(dir, "images", "refs"))
			for _, e := range entries {
				if e.Name() != "stable" {
					t.Errorf("found %s", e.Name())
					return
				}
			}
		}
	}()
	if err := r.SetRef("stable", a); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := r.SetRef("stable", []verity.Digest{b, a}[i%2]); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Readlink(filepath.Join(dir, "images", "refs", "stable")); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
}
