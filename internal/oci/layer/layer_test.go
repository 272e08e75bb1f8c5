package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci/layer"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/verity"
)

// Trees that cfsctl makes of container images.
const dumps = "../../../cmd/mkimage/testdata/oci/dumps"

// contents are objects whose content begins with their digest.
type contents struct{ sizes map[verity.Digest]int64 }

func (c contents) open(d verity.Digest) (io.ReadCloser, error) {
	text := d.Hex()
	return io.NopCloser(io.MultiReader(strings.NewReader(text), io.LimitReader(zeros{}, c.sizes[d]-int64(len(text))))), nil
}

func (contents) PutBytes(b []byte) (verity.Digest, error) {
	return verity.ParseAnyHex(string(b[:64]))
}

func (c contents) Put(write func(io.Writer) error) (verity.Digest, int64, error) {
	var b start
	if err := write(&b); err != nil {
		return verity.Digest{}, 0, err
	}
	d, err := c.PutBytes(b.first)
	return d, b.n, err
}

// start keeps the beginning of what is written.
type start struct {
	first []byte
	n     int64
}

func (s *start) Write(p []byte) (int, error) {
	s.first = append(s.first, p[:min(len(p), 64-min(64, len(s.first)))]...)
	s.n += int64(len(p))
	return len(p), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// image returns the digest of a tree's image.
func image(t *testing.T, root *tree.Node, format erofs.Format) (verity.Digest, error) {
	t.Helper()
	h := verity.NewHasher(verity.SHA256)
	if err := erofs.Write(h, root, format); err != nil {
		return verity.Digest{}, err
	}
	return h.Sum(), nil
}

func TestALayerMakesTheSameTree(t *testing.T) {
	files, err := filepath.Glob(dumps + "/*.dump")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, file := range files {
		name := filepath.Base(file)
		if name == "name-256.dump" { // which no file system has
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		root, err := dumpfile.Rust.Parse(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		c := contents{map[verity.Digest]int64{}}
		for _, e := range tree.Walk(root) {
			c.sizes[e.Node.ContentObject()] = int64(e.Node.Size)
		}
		var archive bytes.Buffer
		if err := layer.Write(t.Context(), &archive, root, c.open); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b := tarball.NewBuilder(tarball.Options{Sink: c})
		if err := b.Apply(t.Context(), bytes.NewReader(archive.Bytes())); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
			want, err := image(t, root, format)
			if err != nil {
				continue
			}
			if found, err := image(t, b.Tree(), format); err != nil || found != want {
				t.Errorf("%s in V%d: want %s, found %s: %v", name, format, want.Hex(), found.Hex(), err)
			}
			same++
		}
	}
	if same < 60 {
		t.Errorf("only %d images", same)
	}
}

func TestWhatCanNotBeInALayerIsNamed(t *testing.T) {
	file := func(n *tree.Node, name string) *tree.Node {
		root := &tree.Node{Kind: tree.Directory}
		if err := root.Add(name, n); err != nil {
			t.Fatal(err)
		}
		return root
	}
	object := verity.NewHasher(verity.SHA256).Sum()
	for want, root := range map[string]*tree.Node{
		"/.wh.x: ":           file(&tree.Node{Kind: tree.Regular}, ".wh.x"),
		"/socket: ":          file(&tree.Node{Kind: tree.Socket}, "socket"),
		"/x: ":               file(&tree.Node{Kind: tree.Regular, Size: 5000}, "x"),
		"want 200 bytes, fo": file(&tree.Node{Kind: tree.Regular, Size: 200, Object: object}, "short"),
		"write too long":     file(&tree.Node{Kind: tree.Regular, Size: 70, Object: object}, "long"),
	} {
		err := layer.Write(t.Context(), io.Discard, root, func(verity.Digest) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("x", 100))), nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := layer.Write(ctx, io.Discard, file(&tree.Node{Kind: tree.FIFO}, "x"), nil); !errors.Is(err, stopped) {
		t.Error(err)
	}
}
