package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func TestAnImageDoesNotDifferFromWhatItWasMadeOf(t *testing.T) {
	for name, v := range vectors(t) {
		dump := testutil.ReadFile(t, vectorDir+"/"+v.Dump)
		dir := t.TempDir()
		var images []string
		for _, format := range []string{"v0", "v1", "v2"} {
			image := filepath.Join(dir, format)
			if _, status := call(t, dump, "mkimage", "build", "--format", format, "--output", image, "dump:-"); status != 0 {
				continue // what the tool refuses whose format it is
			}
			images = append(images, image)
			if out, status := call(t, dump, "mkimage", "diff", "dump:-", image); status != 0 || out != "" {
				t.Errorf("%s: status %d: %s", image, status, out)
			}
		}
		for _, image := range images[:max(0, len(images)-1)] {
			if out, status := call(t, nil, "mkimage", "diff", images[len(images)-1], image); status != 0 || out != "" {
				t.Errorf("%s: %s and %s: status %d: %s", name, images[len(images)-1], image, status, out)
			}
		}
	}
}

// The digest of a directory's files is that of the image that it is compared with.
func TestADirectoryIsReadAsTheImageWas(t *testing.T) {
	dir := t.TempDir()
	tree, image := filepath.Join(dir, "tree"), filepath.Join(dir, "image")
	makeFiles(t, tree)
	if _, status := call(t, nil, "mkimage", "build", "--skip-xattrs", "--digest", "sha512", "--format", "v2", "--output", image, tree); status != 0 {
		t.Fatal("not built")
	}
	if out, status := call(t, nil, "mkimage", "diff", "--skip-xattrs", image, tree); status != 0 || out != "" {
		t.Errorf("status %d: %s", status, out)
	}
	if _, status := call(t, nil, "mkimage", "diff", "--skip-xattrs", "--digest", "sha256", image, tree); status != exitDifferent {
		t.Errorf("status %d", status)
	}
}

func makeFiles(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name), 1000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "c"), filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
}
