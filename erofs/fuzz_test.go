package erofs_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/tree"
)

// Any bytes are either refused with one of the two causes, or give a tree that,
// once written, reads and writes to the same image again.
func FuzzReadImage(f *testing.F) {
	for _, pattern := range []string{"golden-*.img.gz", "hardlinks*.img.gz", "whiteouts*.img.gz", "xattrs*.img.gz"} {
		for _, path := range globVectors(f, pattern) {
			f.Add(readFile(f, path))
		}
	}
	for _, name := range []string{"special-nodes", "inline-sizes", "symlinks", "chunk-limits", "dir-blocks", "overlay-escape"} {
		f.Add(write(f, parse(f, readFile(f, filepath.Join(vectorDir, name+".dump"))), erofs.V1))
	}
	for _, name := range []string{"special-nodes", "symlinks2", "min-hl-samedir", "min-payload-nodigest", "min-sparse", "dir-blocks", "overlay-escape"} {
		f.Add(write(f, parse(f, readFile(f, filepath.Join(vectorDir, name+".dump"))), erofs.V2))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		m, err := erofs.Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			checkCause(t, err)
			return
		}
		root, err := m.Tree()
		if err != nil {
			checkCause(t, err)
			return
		}
		if err := tree.Check(root); err != nil {
			t.Fatalf("a tree of an image must pass Check: %v", err)
		}
		format := m.Header().Version
		var once bytes.Buffer
		if err := erofs.Write(&once, root, format); err != nil {
			return // a tree that has no image in this format
		}
		if twice := write(t, read(t, once.Bytes()), format); !bytes.Equal(once.Bytes(), twice) {
			t.Error("the image changed")
		}
	})
}

func checkCause(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, erofs.ErrCorrupt) && !errors.Is(err, erofs.ErrUnsupported) {
		t.Errorf("want ErrCorrupt or ErrUnsupported, found %v", err)
	}
}
