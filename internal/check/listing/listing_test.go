package listing_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/listing"
)

const (
	digest = "1234567890123456789012345678901234567890123456789012345678901234"
	object = "12/34567890123456789012345678901234567890123456789012345678901234"
	text   = `/ 0 40755 3 0 0 0 1.5 - - -
/dir 0 40750 2 0 7 0 1.5 - - - user.note=v
/file 100 100644 2 0 0 0 1.5 ` + object + ` - ` + digest + `
/link 100 @100644 2 0 0 0 1.5 /file - -
/null 0 20666 1 0 0 259 0.0 - - -
/odd\x20name\n 5 120777 1 0 0 0 1.5 a\x20b\xff\\ - -
/small 3 100600 1 0 0 0 1.5 - hi\n -
`
)

func parse(t *testing.T) *tree.Node {
	t.Helper()
	root, err := dumpfile.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// No name or target can forge a line or command a terminal.
func TestTheTextHasALineForEachName(t *testing.T) {
	var b strings.Builder
	if err := listing.Write(&b, parse(t)); err != nil {
		t.Fatal(err)
	}
	want := "/dir/\t\n/file\t@ " + object + "\n/link\n/null\n/odd name\\n\t-> a\\x20b\\xff\\\\\n/small\n"
	if b.String() != want {
		t.Errorf("found\n%s\nwant\n%s", b.String(), want)
	}
}

func TestProgramsGetAllAttributes(t *testing.T) {
	files := map[string]listing.File{}
	for _, f := range listing.Files(parse(t)) {
		files[f.Path] = f
	}
	if f := files["/dir"]; f.Type != "directory" || f.Mode != "0750" || f.GID != 7 || f.Mtime != "1.000000005" || f.Size != nil || string(f.Xattrs["user.note"]) != "v" {
		t.Errorf("the directory: %+v", f)
	}
	if f := files["/file"]; *f.Size != 100 || f.Object != object || f.Digest.Hex() != digest || f.HardLink != "" {
		t.Errorf("the file: %+v", f)
	}
	if f := files["/link"]; f.HardLink != "/file" {
		t.Errorf("the link: %+v", f)
	}
	if f := files["/null"]; f.Type != "character-device" || f.Device != "1:3" {
		t.Errorf("the device: %+v", f)
	}
	if f := files["/small"]; string(f.Content) != "hi\n" || f.Object != "" {
		t.Errorf("the small file: %+v", f)
	}
}

func TestAnObjectIsMissingUnlessAStoreHasARegularFile(t *testing.T) {
	root := parse(t)
	paths := listing.Paths(root)
	if !slices.Equal(paths, []string{object}) || len(listing.Objects(root)) != 1 {
		t.Fatalf("found %v", paths)
	}
	for _, c := range []struct {
		name  string
		make  func(path string) error
		there bool
	}{
		{"nothing", func(string) error { return nil }, false},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o644) }, true},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o755) }, false},
		{"a link to a file", func(path string) error { return os.Symlink("/proc/version", path) }, false},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, object)
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		var stores []*os.File
		for _, name := range []string{t.TempDir(), dir} {
			store, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			stores = append(stores, store)
		}
		if missing := listing.Missing(stores, slices.Clone(paths)); (len(missing) == 0) != c.there {
			t.Errorf("%s: missing %v", c.name, missing)
		}
	}
}
