package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// sparseFile makes a file of size bytes with data of all lengths here and there, and
// returns how many bytes of data.
func sparseFile(t *testing.T, name string, size int64, seed uint64) (written int64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 12 {
		content := make([]byte, 1+min(size/100, r.Int64N([]int64{10, 5000, 300_000}[r.IntN(3)])))
		for i := range content {
			content[i] = byte(1 + r.IntN(255))
		}
		if _, err := f.WriteAt(content, r.Int64N(size-int64(len(content)))); err != nil {
			t.Fatal(err)
		}
		written += int64(len(content))
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return written
}

// allocated is what the files below a directory take on the disk.
func allocated(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// A sparse file's object is as sparse, whether it comes from a directory or from an
// archive of any kind, and has the digest that fsverity says.
func TestHolesStayHolesInTheRepository(t *testing.T) {
	testutil.RequireTool(t, "fsverity")
	testutil.RequireTool(t, "tar")
	for seed, size := range []int64{100_000, 9 << 20, 5 << 30} {
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(root, "sparse")
		data := sparseFile(t, file, size, uint64(seed))
		if allocated(t, root) > size/2 {
			t.Skip("this file system has no holes")
		}
		sources := map[string]string{"directory": root}
		for _, format := range [][]string{{"--format=gnu"}, {"--format=posix", "--sparse-version=0.0"}, {"--format=posix", "--sparse-version=0.1"}, {"--format=posix", "--sparse-version=1.0"}} {
			name := filepath.Join(dir, strings.Join(format, "")+".tar")
			if out, err := exec.Command("tar", append(format, "--sparse", "--hole-detection=seek", "-C", root, "-cf", name, "sparse")...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			sources[format[len(format)-1]] = "tar:" + name
		}
		digest := ""
		if size < 1<<30 { // it takes fsverity long
			out, err := exec.Command("fsverity", "digest", "--compact", "--hash-alg=sha256", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			digest = strings.TrimSpace(string(out))
		}
		for how, source := range sources {
			repo := filepath.Join(dir, "repo-"+how)
			if out, err := program(t, "build", "--repo", repo, "--ref", "x", source).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", how, err, out)
			}
			out, err := program(t, "objects", "--repo", repo, "x").Output()
			if err != nil {
				t.Fatal(err)
			}
			object := strings.TrimSpace(strings.ReplaceAll(string(out), "/", ""))
			if digest == "" {
				digest = object
			}
			if object != digest {
				t.Errorf("%s, %d bytes: the object is %s, want %s", how, size, object, digest)
			}
			// Blocks at the edges of holes, the image, meta.json.
			if most := data + 24*4096 + 64<<10; allocated(t, repo) > most {
				t.Errorf("%s, %d bytes of which %d are data: %d bytes are allocated", how, size, data, allocated(t, repo))
			}
			if size < 1<<30 {
				compareFiles(t, file, filepath.Join(repo, "objects", object[:2], object[2:]))
			}
		}
	}
}

func compareFiles(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil || !bytes.Equal(x, y) {
		t.Errorf("%s isn't %s: %v", b, a, err)
	}
}

// BenchmarkBuildSparse builds a repository of a file with 5 GiB, of which hardly any are
// data.
func BenchmarkBuildSparse(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "root", "sparse")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("data"), 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(file, 5<<30); err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		cmd := exec.Command(self)
		cmd.Args = []string{"mkimage", "build", "--repo", filepath.Join(dir, fmt.Sprint("repo", n)), filepath.Dir(file)}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
