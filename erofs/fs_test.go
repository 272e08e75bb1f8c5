package erofs_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

func openFS(t *testing.T, text string) fs.ReadLinkFS {
	t.Helper()
	return fsOf(t, parse(t, []byte(text)), erofs.V1)
}

func fsOf(t *testing.T, root *tree.Node, f erofs.Format) fs.ReadLinkFS {
	t.Helper()
	fsys, err := open(t, write(t, root, f)).FS()
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

const fsText = `/ 0 40755 2 0 0 0 0.0 - - -
/a 5 104755 1 0 0 0 1700000000.5 - hello -
/dir 0 41777 2 0 0 0 0.0 - - -
/dir/b 0 100644 1 0 0 0 0.0 - - -
/dir/c 0 @100644 - - - - 0.0 /a - -
/dir/up 0 120777 1 0 0 0 0.0 ../a - -
/empty 0 40755 2 0 0 0 0.0 - - -
/to-dir 0 120777 1 0 0 0 0.0 dir/../dir/ - -
/absolute 0 120777 1 0 0 0 0.0 /to-dir/up - -
`

func TestImageIsAnFS(t *testing.T) {
	for _, f := range formats {
		fsys := fsOf(t, parse(t, []byte(fsText)), f)
		if err := fstest.TestFS(fsys, "a", "dir/b", "dir/c", "dir/up", "empty", "to-dir", "absolute"); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
}

// The vectors in all formats too, but for what the test can't do with: names that
// aren't UTF-8, which io/fs has none of, content that is an object, symlinks to nothing.
func TestVectorsAreFSs(t *testing.T) {
	for _, v := range vectors(t) {
		for _, f := range formats {
			if v.image(f).Fail != "" {
				continue
			}
			root := v.treeFor(t, f)
			if wanted, ok := testableNames(root); ok {
				if err := fstest.TestFS(fsOf(t, root, f), wanted...); err != nil {
					t.Errorf("%s %v: %v", v.Name, f, err)
				}
			}
		}
	}
}

// testableNames makes a tree one that fstest.TestFS can look through, and returns its
// names; not all trees can be.
func testableNames(root *tree.Node) (names []string, ok bool) {
	for path, e := range tree.Walk(root) {
		n := e.Node
		if len(names) > 40 || strings.Count(path, "/") > 8 || !utf8.ValidString(path) || n.Kind == tree.Symlink {
			return nil, false
		}
		if n.Kind == tree.Regular && len(n.Inline) == 0 {
			n.Size, n.Payload, n.Object = 0, "", verity.Digest{}
		}
		if path != "/" {
			names = append(names, path[1:])
		}
	}
	return names, true
}

func TestFSFollowsSymlinksWithinTheImage(t *testing.T) {
	fsys := openFS(t, fsText+`/loop 0 120777 1 0 0 0 0.0 loop - -
/dangling 0 120777 1 0 0 0 0.0 nowhere - -
/outside 0 120777 1 0 0 0 0.0 ../../../../a - -
`)
	for _, name := range []string{"a", "dir/up", "dir/c", "to-dir/up", "absolute", "outside"} {
		if b, err := fs.ReadFile(fsys, name); err != nil || string(b) != "hello" {
			t.Errorf("%s: want hello, found %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"dangling", "nothing", "a/b", "dir/up/x", "empty/x"} {
		if _, err := fs.Stat(fsys, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: want ErrNotExist, found %v", name, err)
		}
	}
	if _, err := fsys.Open("loop"); err == nil {
		t.Error("a loop of symlinks opened")
	}
	if target, err := fsys.ReadLink("dangling"); err != nil || target != "nowhere" {
		t.Errorf("ReadLink: found %q, %v", target, err)
	}
	if _, err := fsys.ReadLink("a"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a file: want ErrInvalid, found %v", err)
	}
	if _, err := fs.ReadDir(fsys, "a"); err == nil {
		t.Error("ReadDir of a file worked")
	}
}

func TestFSTellsWhatTheTreeHas(t *testing.T) {
	fsys := openFS(t, fsText+"/obj 9 100644 1 0 0 0 0.0 p - -\n/null 0 20666 1 0 0 259 0.0 - - -\n")
	info, err := fs.Stat(fsys, "a")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSetuid|0o755 || !info.ModTime().Equal(time.Unix(1700000000, 5)) || info.Size() != 5 {
		t.Errorf("a: found %v", fs.FormatFileInfo(info))
	}
	if info, err = fs.Stat(fsys, "dir"); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("dir: found %v, %v", info, err)
	}
	if info, err = fs.Stat(fsys, "null"); err != nil || info.Mode() != fs.ModeDevice|fs.ModeCharDevice|0o666 || info.Sys().(*tree.Node).Rdev != 259 {
		t.Errorf("null: found %v, %v", info, err)
	}
	f, err := fsys.Open("obj")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadAll(f); !errors.Is(err, erofs.ErrNoContent) {
		t.Errorf("content outside: want ErrNoContent, found %v", err)
	}
}
