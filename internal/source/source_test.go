package source_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/verity"
)

const dump = "/ 4096 40755 2 0 0 0 0.0 - - -\n/name 3 100644 1 0 0 0 0.0 - abc -\n"

// files makes files in a new directory and goes there.
func files(t *testing.T, content map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range content {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func options() source.Options {
	return source.Options{Sink: directory.NewDigests(verity.SHA256), Format: erofs.V1, Tar: source.TarOptions{MaxEntries: tarball.DefaultMaxEntries}}
}

func TestEveryKindOfSourceIsReadFromItsFileAndFromStandardInput(t *testing.T) {
	files(t, map[string]string{
		"root/name": "abc", "a.dump": dump,
		"a.json": `{"version":1,"entries":[{"type":"dir","name":"/"},{"type":"reg","name":"name","size":0}]}`,
	})
	for _, c := range []struct{ arg, stdin string }{{"root", ""}, {"dump:a.dump", ""}, {"dump:-", dump}, {"crfs:a.json", ""}} {
		o := options()
		o.Stdin = strings.NewReader(c.stdin)
		got, err := source.Read(t.Context(), c.arg, o)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
		} else if n := got.Root.Lookup("name"); n == nil || n.Kind != tree.Regular {
			t.Errorf("%s: the file isn't there", c.arg)
		}
	}
}

func TestAFileOfAnotherKindIsNamed(t *testing.T) {
	files(t, map[string]string{"a.dump": dump, "text": "a text\n", "a.json": "{", "a.tar": "?"})
	for _, c := range []struct {
		arg  string
		want error
	}{
		{"a.dump", &source.DirectoryError{Path: "a.dump", Found: "a file", Prefix: "dump:"}},
		{"a.json", &source.DirectoryError{Path: "a.json", Found: "a file", Prefix: "crfs:"}},
		{"a.tar", &source.DirectoryError{Path: "a.tar", Found: "a file", Prefix: "tar:"}},
		{"text", &source.DirectoryError{Path: "text", Found: "a file"}},
		{"/dev/null", &source.DirectoryError{Path: "/dev/null", Found: "a character device"}},
		{"tar:text", &filekind.Error{Path: "text", Found: filekind.Text, Want: "a tar archive"}},
		{"tar:.", &filekind.Error{Path: ".", Found: "a directory", Want: "a tar archive"}},
		{"crfs:a.dump", &filekind.Error{Path: "a.dump", Found: filekind.Dump, Want: "JSON as composefs-from-json took it"}},
	} {
		_, err := source.Read(t.Context(), c.arg, options())
		if err == nil || err.Error() != c.want.Error() {
			t.Errorf("%s: found %v, want %v", c.arg, err, c.want)
		}
	}
}

func TestAFaultyFileIsNamed(t *testing.T) {
	files(t, map[string]string{"a.dump": dump + "nonsense\n"})
	for _, arg := range []string{"dump:a.dump", "dump:-"} {
		o := options()
		o.Stdin = strings.NewReader("/ nonsense\n")
		_, err := source.Read(t.Context(), arg, o)
		var file *source.FileError
		if !errors.As(err, &file) || "dump:"+file.Name != arg {
			t.Errorf("%s: found %v", arg, err)
		}
	}
}

func TestAPlaceThatTheNextBuildWouldReadIsInside(t *testing.T) {
	files(t, map[string]string{"root/etc/f": "", "root/boot/f": "", "a.tar": "", "other": ""})
	if err := os.Symlink("root", "link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arg, path string
		empty     []string
		want      source.Overlap
	}{
		{"root", "root", nil, source.Same}, {"root", "link", nil, source.Same}, {"root", "link/new/x", nil, source.Inside},
		{"root", "root/boot/x", nil, source.Inside}, {"root", "root/boot/x", []string{"boot"}, source.Apart}, {"root", "other", nil, source.Apart},
		{"tar:a.tar", "a.tar", nil, source.Same}, {"tar:other,a.tar", "./a.tar", nil, source.Same}, {"tar:a.tar", "other", nil, source.Apart},
	} {
		o := source.Options{Empty: c.empty}
		if got := o.Overlap(c.arg, c.path); got != c.want {
			t.Errorf("%s, %s, empty %v: found %d, want %d", c.arg, c.path, c.empty, got, c.want)
		}
	}
}

func TestAnImageIsReadAndWhatIsNoneIsNamed(t *testing.T) {
	files(t, map[string]string{"text": "a text\n"})
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2}
	for _, name := range []string{"b", "a", "c"} {
		d := verity.Sum(verity.SHA256, []byte(name[:1]))
		if name == "c" {
			d = verity.Sum(verity.SHA256, []byte("a"))
		}
		n := &tree.Node{Kind: tree.Regular, Perm: 0o644, Nlink: 1, Size: 100, Object: d, Payload: d.ObjectPath()}
		if err := root.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create("image")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := erofs.Write(f, root, erofs.V1); err != nil {
		t.Fatal(err)
	}
	m, err := source.ReadImage("the image", f)
	if err != nil || m.Name != "the image" || m.Format != erofs.V1 {
		t.Fatalf("found %v, %v", m, err)
	}
	text, err := os.Open("text")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if _, err := source.ReadImage("text", text); err == nil || err.Error() != "text is a text: want an image" {
		t.Errorf("found %v", err)
	}
}
