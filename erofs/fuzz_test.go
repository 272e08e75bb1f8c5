package erofs_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// Any bytes are either refused with what is wrong where, or give in bounded memory a
// tree that, once written, reads as the same tree and writes to the same image again.
func FuzzReadImage(f *testing.F) {
	for _, pattern := range []string{"golden-*.img.gz", "hardlinks*.img.gz", "whiteouts*.img.gz", "xattrs*.img.gz"} {
		for _, path := range globVectors(f, pattern) {
			f.Add(testutil.ReadFile(f, path))
		}
	}
	for _, name := range []string{"special-nodes", "inline-sizes", "symlinks", "chunk-limits", "dir-blocks", "overlay-escape"} {
		f.Add(write(f, parse(f, testutil.ReadFile(f, filepath.Join(vectorDir, name+".dump"))), erofs.V1))
	}
	for _, name := range []string{"special-nodes", "symlinks2", "min-hl-samedir", "min-payload-nodigest", "min-sparse", "dir-blocks", "overlay-escape"} {
		f.Add(write(f, parse(f, testutil.ReadFile(f, filepath.Join(vectorDir, name+".dump"))), erofs.V2))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		var m *erofs.Image
		var root *tree.Node
		testutil.BoundMemory(t, len(image), func() {
			var err error
			if m, err = erofs.Open(bytes.NewReader(image), int64(len(image))); err == nil {
				root, err = m.Tree()
			}
			if err != nil {
				checkCause(t, err)
			}
		})
		if root == nil {
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
		back := read(t, once.Bytes())
		if twice := write(t, back, format); !bytes.Equal(once.Bytes(), twice) {
			t.Error("the image changed")
		}
		if format == erofs.V0 { // V1 adds marks, and V2 doesn't store all of a tree
			for difference := range treediff.Trees(root, back) {
				t.Errorf("the tree changed (A was first): %v", difference)
			}
		}
	})
}

func checkCause(t *testing.T, err error) {
	t.Helper()
	var where *erofs.FormatError
	if !errors.As(err, &where) {
		t.Errorf("want a FormatError, found %v", err)
	}
	if !errors.Is(err, erofs.ErrCorrupt) && !errors.Is(err, erofs.ErrUnsupported) {
		t.Errorf("want ErrCorrupt or ErrUnsupported, found %v", err)
	}
}
