package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// An image doesn't differ from what it was made of; images of it in two formats differ in
// nothing else.
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
			last := images[len(images)-1]
			want := "image: format erofs-" + filepath.Base(last) + " in A, erofs-" + filepath.Base(image) + " in B\nfrom A to B: 0 objects, 0 B\n"
			if out, status := call(t, nil, "mkimage", "diff", last, image); status != exitDifferent || out != want {
				t.Errorf("%s: %s and %s: status %d: %s", name, last, image, status, out)
			}
		}
	}
}

// An image that has the right tree, and another digest than mkimage gives it, differs.
func TestAnImageWithOtherBytesDiffers(t *testing.T) {
	dir := t.TempDir()
	tree, image, other := filepath.Join(dir, "tree"), filepath.Join(dir, "image"), filepath.Join(dir, "other")
	makeFiles(t, tree)
	if _, status := call(t, nil, "mkimage", "build", "--skip-xattrs", "--output", image, tree); status != 0 {
		t.Fatal("not built")
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, bytes := range [][]byte{append(slices.Clone(b), make([]byte, 4096)...), slices.Concat(b[:31], []byte{1}, b[32:])} {
		if err := os.WriteFile(other, bytes, 0o644); err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("%#x", len(b))
		if len(bytes) == len(b) {
			at = "0x1f"
		}
		for with, want := range map[string]string{
			image: "image: bytes other bytes from " + at + " on in A, as mkimage writes them in B\nfrom A to B: 0 objects, 0 B\n",
			tree:  "image: bytes other bytes from " + at + " on in A, as mkimage writes them in B\nfrom A to B: 0 objects, 0 B\n",
			other: "",
		} {
			wanted := exitDifferent
			if want == "" {
				wanted = 0
			}
			if out, status := call(t, nil, "mkimage", "diff", "--skip-xattrs", other, with); status != wanted || out != want {
				t.Errorf("with %s: status %d: %s", with, status, out)
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
