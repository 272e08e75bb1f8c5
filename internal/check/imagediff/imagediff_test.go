package imagediff_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/imagediff"
)

// parse makes a tree of a root and dump lines. A whiteout is what formats keep in
// different ways.
func parse(t *testing.T, lines string) *tree.Node {
	t.Helper()
	root, err := dumpfile.Parse(strings.NewReader("/ 0 40755 2 0 0 0 0.0 - - -\n" + lines + "/gone 0 20000 1 0 0 0 0.0 - - -\n"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

const (
	motd  = "/a 3 100644 1 0 0 0 0.0 - hi\\n -\n"
	other = "/a 3 100644 1 0 0 0 0.0 - ho\\n -\n"
)

// image returns the side of a tree's image, whose bytes are changed by edit.
func image(t *testing.T, lines string, format erofs.Format, edit func([]byte) []byte) imagediff.Side {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(name)
	if err == nil {
		err = erofs.Write(f, parse(t, lines), format)
	}
	if err == nil {
		err = f.Close()
	}
	b, readErr := os.ReadFile(name)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	if edit != nil {
		b = edit(b)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := erofs.Open(f, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	root, err := m.Tree()
	if err != nil {
		t.Fatal(err)
	}
	return imagediff.Side{Root: root, Image: f, Format: format}
}

// Whenever two digests differ there is a difference, and only then.
func TestWhatKeepsTwoDigestsApartIsADifference(t *testing.T) {
	flag := func(b []byte) []byte { b[31] ^= 1; return b }
	longer := func(b []byte) []byte { return append(b, 0) }
	shown := func(lines string) imagediff.Side { return imagediff.Side{Root: parse(t, lines)} }
	v0, v1, v2 := image(t, motd, erofs.V0, nil), image(t, motd, erofs.V1, nil), image(t, motd, erofs.V2, nil)
	for _, c := range []struct {
		name string
		a, b imagediff.Side
		want []string
	}{
		{"the same image", v1, v1, nil},
		{"another image of the same tree", v1, image(t, motd, erofs.V1, nil), nil},
		{"an image and its tree", v0, shown(motd), nil},
		{"a tree and its image", shown(motd), v2, nil},
		{"two trees", shown(motd), shown(other), []string{`/a: content "hi\n" in A, "ho\n" in B`}},
		{"two formats", v0, v1, []string{"image: format erofs-v0 in A, erofs-v1 in B"}},
		{"two formats and a file", v2, image(t, other, erofs.V1, nil), []string{"image: format erofs-v2 in A, erofs-v1 in B", `/a: content "hi\n" in A, "ho\n" in B`}},
		{"a byte that no tree has", v1, image(t, motd, erofs.V1, flag), []string{"image: bytes as mkimage writes them in A, other bytes from 0x1f on in B"}},
		{"the same byte in both", image(t, motd, erofs.V1, flag), image(t, motd, erofs.V1, flag), nil},
		{"that byte and a tree", image(t, motd, erofs.V1, flag), shown(motd), []string{"image: bytes other bytes from 0x1f on in A, as mkimage writes them in B"}},
		{"a longer image", image(t, motd, erofs.V2, longer), v2, []string{"image: bytes other bytes from 0x1000 on in A, as mkimage writes them in B"}},
	} {
		var got []string
		for d, err := range imagediff.New(c.a, c.b).Differences() {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got = append(got, d.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
	for range imagediff.New(v0, image(t, other, erofs.V1, nil)).Differences() {
		break
	}
}
