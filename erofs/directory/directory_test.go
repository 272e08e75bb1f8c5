package directory_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

func read(t *testing.T, dir string, change ...func(*directory.Options)) (*tree.Node, error) {
	t.Helper()
	opts := directory.Options{Sink: directory.NewDigests(verity.SHA256)}
	for _, c := range change {
		c(&opts)
	}
	return directory.Read(context.Background(), dir, opts)
}

func mustRead(t *testing.T, dir string, change ...func(*directory.Options)) *tree.Node {
	t.Helper()
	root, err := read(t, dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe writes a tree as text, a line for each name.
func describe(n *tree.Node, path string, lines *[]string) {
	*lines = append(*lines, fmt.Sprintf("%s kind %d perm %o nlink %d size %d time %v inline %q object %s target %q",
		path, n.Kind, n.Perm, n.Nlink, n.Size, n.Mtime, n.Inline, n.Object.Hex(), n.Target))
	for _, x := range n.Xattrs() {
		*lines = append(*lines, fmt.Sprintf("  %s=%q", x.Name, x.Value))
	}
	for _, e := range n.Entries() {
		if e.Link {
			*lines = append(*lines, path+"/"+e.Name+" is a link")
			continue
		}
		describe(e.Node, path+"/"+e.Name, lines)
	}
}

func TestAFileOfUpTo64BytesIsInlineAndALargerOneAnObject(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 64, 65, 4096, 4097, 600 << 10} {
		write(t, filepath.Join(dir, fmt.Sprint(size)), strings.Repeat("x", size))
	}
	root := mustRead(t, dir)
	for _, e := range root.Entries() {
		content := []byte(strings.Repeat("x", int(e.Node.Size)))
		switch size := len(content); {
		case size <= 64 && (string(e.Node.Inline) != string(content) || !e.Node.Object.IsZero()):
			t.Errorf("%d bytes: inline %q, object %s", size, e.Node.Inline, e.Node.Object)
		case size > 64 && (e.Node.Inline != nil || e.Node.Object != verity.Sum(verity.SHA256, content)):
			t.Errorf("%d bytes: inline %q, object %s", size, e.Node.Inline, e.Node.Object)
		}
	}
}

func TestHardLinksAreOneFileWhoseFirstNameIsTheOriginal(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "a"), 0o755)
	write(t, filepath.Join(dir, "z"), strings.Repeat("content", 100))
	for _, name := range []string{"m", "a/x"} {
		if err := os.Link(filepath.Join(dir, "z"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// A link from outside must not show: the tree would depend on the machine.
	os.Link(filepath.Join(dir, "z"), filepath.Join(t.TempDir(), "outside"))
	root := mustRead(t, dir)
	original := root.Lookup("a").Lookup("x")
	if original.Nlink != 3 || original.Object.IsZero() {
		t.Errorf("original has %d links, object %s", original.Nlink, original.Object)
	}
	for _, e := range root.Entries() {
		if e.Name != "a" && (!e.Link || e.Node != original) {
			t.Errorf("%s: link %v to %p, want a link to %p", e.Name, e.Link, e.Node, original)
		}
	}
}

func TestHardLinksCanBeFilesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), strings.Repeat("content", 100))
	os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b"))
	root := mustRead(t, dir, func(o *directory.Options) { o.SplitLinks = true })
	a, b := root.Lookup("a"), root.Lookup("b")
	if a == b || a.Nlink != 1 || b.Nlink != 1 || a.Object != b.Object || a.Object.IsZero() || len(tree.Linked(root)) > 0 {
		t.Errorf("found %+v and %+v", a, b)
	}
}

func TestTheTreeIsTheSameWhateverTheOrderOfCreationAndTheUmask(t *testing.T) {
	var first []string
	for _, umask := range []int{0, 0o077} {
		dir := t.TempDir()
		old := unix.Umask(umask)
		names := []string{"b", "a", "ü", "c c", "A"}
		if umask != 0 {
			slices.Reverse(names)
		}
		for _, n := range names {
			path := filepath.Join(dir, n)
			write(t, path, strings.Repeat(n, 100))
			os.Chmod(path, 0o640)
			os.Chtimes(path, time.Unix(1, 5), time.Unix(-1, 5))
		}
		unix.Umask(old)
		os.Symlink("a", filepath.Join(dir, "s"))
		os.Chmod(dir, 0o755)
		var lines []string
		describe(mustRead(t, dir, func(o *directory.Options) { o.SkipXattrs = true }), "", &lines)
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, " kind") || strings.HasPrefix(l, "/s") })
		if first == nil {
			first = lines
		} else if !slices.Equal(first, lines) {
			t.Errorf("first %q\nthen %q", first, lines)
		}
	}
}

func TestExtendedAttributesAndTheirFilters(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	write(t, file, "x")
	os.Symlink("f", link)
	big := strings.Repeat("v", 3000)
	for name, value := range map[string]string{"user.one": "1", "user.big": big} {
		if err := unix.Setxattr(file, name, []byte(value), 0); err != nil {
			t.Skipf("no user attributes on this file system: %v", err)
		}
	}
	get := func(change ...func(*directory.Options)) *tree.Node { return mustRead(t, dir, change...).Lookup("f") }
	if v, _ := get().Xattr("user.big"); string(v) != big {
		t.Errorf("user.big has %d bytes", len(v))
	}
	if n := get(func(o *directory.Options) { o.SkipXattrs = true }).Xattrs(); len(n) != 0 {
		t.Errorf("with SkipXattrs: %v", n)
	}
	if os.Geteuid() == 0 {
		unix.Setxattr(file, "trusted.two", []byte("2"), 0)
		unix.Lsetxattr(link, "trusted.three", []byte("3"), 0)
		if v, _ := mustRead(t, dir).Lookup("l").Xattr("trusted.three"); string(v) != "3" {
			t.Errorf("attribute of the symlink: %q", v)
		}
		if n := get(func(o *directory.Options) { o.UserXattrs = true }).Xattrs(); len(n) != 2 {
			t.Errorf("with UserXattrs: %v", n)
		}
	}
}

func TestBadInputIsAnErrorThatNamesTheFile(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		sink    directory.Sink
		want    error
	}{
		{"a socket", func(t *testing.T, dir string) {
			l, err := net.Listen("unix", filepath.Join(dir, "bad"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, nil, directory.ErrSocket},
		{"a file that changes while it is read", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "bad"), strings.Repeat("x", 100))
		}, meddler(func() { os.WriteFile("bad", []byte(strings.Repeat("y", 100)), 0o644) }), directory.ErrChanged},
		{"a file that shrinks while it is read", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "bad"), strings.Repeat("x", 100<<10))
		}, meddler(func() { os.Truncate("bad", 10) }), directory.ErrChanged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir) // a socket's path must be short, and the meddler finds the file by its name
			test.prepare(t, ".")
			_, err := read(t, ".", func(o *directory.Options) {
				if test.sink != nil {
					o.Sink = test.sink
				}
			})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "bad") || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %v, want %v and the file's name", err, test.want)
			}
		})
	}
}

// A meddler changes a file just before its content is read.
type meddler func()

func (m meddler) PutFile(f directory.Source, size int64, scratch []byte) (verity.Digest, error) {
	time.Sleep(10 * time.Millisecond) // time stamps are as coarse as the kernel's tick
	m()
	return directory.NewDigests(verity.SHA256).PutFile(f, size, scratch)
}

func TestADirectoryToBeEmptyIsNotLookedAt(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "boot"), 0o755)
	os.MkdirAll(filepath.Join(dir, "usr/boot"), 0o755)
	write(t, filepath.Join(dir, "boot/kernel"), "x")
	write(t, filepath.Join(dir, "usr/boot/kernel"), "x")
	root := mustRead(t, dir, func(o *directory.Options) { o.Empty = []string{"boot"} })
	if root.Lookup("boot").Len() != 0 || root.Lookup("usr").Lookup("boot").Len() != 1 {
		t.Error("want /boot empty and /usr/boot not")
	}
}

func TestDevicesAndWhiteouts(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("mknod: %v", err)
	}
	unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0)
	unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)
	root := mustRead(t, dir)
	if n := root.Lookup("null"); n.Kind != tree.CharDevice || n.Rdev != 0x103 {
		t.Errorf("null: kind %d, device %#x", n.Kind, n.Rdev)
	}
	if !root.Lookup("whiteout").IsWhiteout() || root.Lookup("fifo").Kind != tree.FIFO {
		t.Error("want a whiteout and a FIFO")
	}
	if n := mustRead(t, dir, func(o *directory.Options) { o.SkipDevices = true }).Len(); n != 1 {
		t.Errorf("with SkipDevices: %d files, want the FIFO alone", n)
	}
}

func TestADeepTree(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const depth = 300 // beyond PATH_MAX
	name := strings.Repeat("d", 50)
	for range depth {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chdir(name); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile("end", []byte("x"), 0o644)
	unix.Chdir(dir)
	n := mustRead(t, dir)
	for range depth {
		n = n.Lookup(name)
	}
	if n.Lookup("end") == nil {
		t.Error("the file at the end is missing")
	}
}

// What is done for each file of a large tree allocates the name for the kernel, what
// the tree keeps in large pieces, and nothing else.
func TestAllocationsPerFile(t *testing.T) {
	const files = 2000
	dir := t.TempDir()
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprintf("file-%04d", i)), strings.Repeat("content ", 20+i%1000))
	}
	opts := directory.Options{Sink: directory.NewDigests(verity.SHA256)}
	got := testing.AllocsPerRun(3, func() {
		if _, err := directory.Read(context.Background(), dir, opts); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%g allocations", got)
	if got > 3*files {
		t.Errorf("found %g allocations for %d files, want at most 3 each", got, files)
	}
}
