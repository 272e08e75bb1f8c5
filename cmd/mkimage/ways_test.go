package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/composefs-go/composefs/internal/testing/testtree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// grow makes the random tree of a seed in a new directory.
func grow(t *testing.T, dir string, seed uint64) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := testtree.Grow(dir, seed); err != nil {
		t.Fatal(err)
	}
}

// testdata/peers.json has what the C tools and cfsctl print of random trees, under the
// command line with which we must print the same; scripts/interop --record wrote it.
func TestOnEveryFileSystemTheDigestsAreThoseOfThePeers(t *testing.T) {
	testutil.RequireRoot(t)
	text, err := os.ReadFile("testdata/peers.json")
	if err != nil {
		t.Fatal(err)
	}
	var peers map[uint64]map[string]string
	if err := json.Unmarshal(text, &peers); err != nil {
		t.Fatal(err)
	}
	for i, p := range places {
		if p.env != nil && p.name == "one core" {
			continue // that is about the program
		}
		t.Run(p.name, func(t *testing.T) {
			dir := t.TempDir()
			p.mount(t, dir)
			for seed, lines := range peers {
				if seed > 3 && i > 0 || testtree.Whiteouts(seed) && p.name == "overlayfs" {
					continue
				}
				tree := filepath.Join(dir, fmt.Sprint(seed))
				grow(t, tree, seed)
				for line, want := range lines {
					args := strings.Fields(strings.ReplaceAll(line, "TREE", tree))
					if got, _ := call(t, nil, args...); strings.TrimSpace(got) != want {
						t.Errorf("seed %d, %s: found %s, want %s", seed, line, got, want)
					}
				}
			}
		})
	}
}

// Each filter leaves the same out of a dump and of an archive as of the directory.
func TestAFilterMeansTheSameOfAnySource(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireTool(t, "tar")
	const seed = 2
	dir := t.TempDir()
	tree, image := filepath.Join(dir, "tree"), filepath.Join(dir, "image")
	grow(t, tree, seed)
	call(t, nil, "mkimage", "build", "--quiet", "--format", "v0", "--output", image, tree)
	all, _ := call(t, nil, "mkimage", "build", tree)
	for _, filter := range []string{"--use-epoch", "--skip-xattrs", "--user-xattrs", "--skip-devices"} {
		want, _ := call(t, nil, "mkimage", "build", filter, tree)
		if want == all {
			t.Errorf("%s: the tree has nothing to leave out", filter)
		}
		for _, w := range ways[:3] {
			source, in := w.of(t, tree, image, "")
			if got, _ := call(t, in, "mkimage", "build", filter, source); got != want {
				t.Errorf("%s, %s: found %s, want %s", filter, w.name, got, want)
			}
		}
	}
}

// A way is one in which a tree can get into an image of a format. It is given the
// directory, its image in that format and in V1, and returns the arguments of build,
// and what is at its standard input.
type way struct {
	name   string
	marked bool // it comes from an image with the marks of V1
	of     func(t *testing.T, tree, image, v1 string) (source string, in []byte)
}

// ways are all but the plain directory.
var ways = []way{
	{"GNU tar", false, func(t *testing.T, tree, _, _ string) (string, []byte) {
		cmd := exec.Command("tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", tree, "-czf", "-", ".")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return "tar:-", out
	}},
	{"OCI layout", false, func(t *testing.T, tree, _, _ string) (string, []byte) {
		cmd := exec.Command("tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", tree, "-cf", "-", ".")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return "oci:" + containerImage(t, out), nil
	}},
	{"image and dump", false, func(t *testing.T, _, image, _ string) (string, []byte) { return "dump:-", dumpOf(t, "c", image) }},
	{"image and dump for Rust", false, func(t *testing.T, _, image, _ string) (string, []byte) { return "dump:-", dumpOf(t, "rust", image) }},
	{"V1 image and dump for Rust", true, func(t *testing.T, _, _, v1 string) (string, []byte) { return "dump:-", dumpOf(t, "rust", v1) }},
}

// containerImage makes a container image of archives, and returns the directory of its
// layout.
func containerImage(t *testing.T, archives ...[]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	image := empty.Image
	p, err := layout.Write(dir, empty.Index)
	for _, archive := range archives {
		if err != nil {
			t.Fatal(err)
		}
		var layer v1.Layer
		if layer, err = tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }); err == nil {
			image, err = mutate.AppendLayers(image, layer)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dumpOf(t *testing.T, dialect, image string) []byte {
	t.Helper()
	out, _ := call(t, nil, "mkimage", "dump", "--dialect", dialect, image)
	return []byte(out)
}

func TestATreeHasOneDigestWhicheverWayItComesIn(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireTool(t, "tar")
	for _, seed := range []uint64{0, 1, 2, 3, 7, 10} {
		dir := t.TempDir()
		tree := filepath.Join(dir, "tree")
		grow(t, tree, seed)
		for _, hash := range []string{"sha256", "sha512"} {
			if hash == "sha512" && seed != 2 {
				continue
			}
			build := func(format, source string, in []byte, more ...string) string {
				out, _ := call(t, in, append([]string{"mkimage", "build", "--quiet", "--digest", hash, "--format", format, source}, more...)...)
				return out
			}
			v1 := filepath.Join(dir, "v1")
			build("v1", tree, nil, "--output", v1)
			for _, format := range []string{"v0", "v1", "v2"} {
				image := filepath.Join(dir, "image")
				want := build(format, tree, nil, "--output", image)
				repo := filepath.Join(dir, "repo-"+hash+format)
				if got := build(format, tree, nil, "--repo", repo); got != want {
					t.Errorf("seed %d, %s, %s, into a repository: found %s, want %s", seed, hash, format, got, want)
				}
				for _, w := range ways {
					if w.marked && format != "v1" && testtree.Clash(seed) && testtree.Whiteouts(seed) {
						continue // V1 has put its marks in the place of what was there
					}
					source, in := w.of(t, tree, image, v1)
					if got := build(format, source, in); got != want {
						t.Errorf("seed %d, %s, %s, %s: found %s, want %s", seed, hash, format, w.name, got, want)
					}
				}
			}
		}
	}
}
