package osfile_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// base makes a directory with a file, links of every kind and a secret outside.
func base(t *testing.T) *os.File {
	t.Helper()
	outer := t.TempDir()
	in := filepath.Join(outer, "in")
	for _, d := range []string{"in/images", "in/objects/ab"} {
		if err := os.MkdirAll(filepath.Join(outer, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"secret": "secret", "in/objects/ab/cd": "object", "in/plain": "plain"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(outer, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"in/images/good": "../objects/ab/cd", "in/images/out": "../../secret",
		"in/abs": "/plain", "in/images/loop": "loop", "in/images/magic": "/proc/self/fd/0",
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(outer, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(in, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := osfile.OpenDir(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

type opener func(*os.File, string, int) (*os.File, error)

func TestOpenStaysInside(t *testing.T) {
	dir := base(t)
	for _, c := range []struct {
		name string
		open opener
		path string
		want error // nil: opens
	}{
		{"a plain file", osfile.OpenIn, "plain", nil},
		{"a link that stays beneath", osfile.OpenIn, "images/good", nil},
		{"a link that leaves", osfile.OpenIn, "images/out", unix.EXDEV},
		{"dot-dot that leaves", osfile.OpenIn, "../secret", unix.EXDEV},
		{"an absolute path", osfile.OpenIn, "/etc/passwd", unix.EXDEV},
		{"an absolute link", osfile.OpenIn, "abs", unix.EXDEV},
		{"a link to itself", osfile.OpenIn, "images/loop", unix.ELOOP},
		{"a link into proc", osfile.OpenIn, "images/magic", unix.EXDEV},
		{"no file", osfile.OpenIn, "absent", fs.ErrNotExist},
		{"plain opens no link", osfile.OpenPlain, "images/good", unix.ELOOP},
		{"plain opens a file", osfile.OpenPlain, "objects/ab/cd", nil},
		{"in root an absolute link starts at the root", osfile.OpenInRoot, "abs", nil},
		{"in root dot-dot stops at the root", osfile.OpenInRoot, "../../plain", nil},
		{"in root a link out ends at the root", osfile.OpenInRoot, "images/out", fs.ErrNotExist},
	} {
		f, err := c.open(dir, c.path, unix.O_RDONLY)
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: open %q: %v, want %v", c.name, c.path, err, c.want)
		}
	}
}

func TestReadFileInIsBounded(t *testing.T) {
	dir := base(t)
	if b, err := osfile.ReadFileIn(dir, "plain", 5); err != nil || string(b) != "plain" {
		t.Errorf("a file of exactly the limit: %q, %v", b, err)
	}
	if _, err := osfile.ReadFileIn(dir, "plain", 4); !errors.Is(err, osfile.ErrTooLarge) {
		t.Errorf("a file over the limit: %v, want ErrTooLarge", err)
	}
	for _, name := range []string{"fifo", "images"} {
		if _, err := osfile.ReadFileIn(dir, name, 100); err == nil || !strings.Contains(err.Error(), "regular file") {
			t.Errorf("%s: %v, want a complaint that it is no regular file", name, err)
		}
	}
}

func TestWhatMustBeARegularFileIsSaidToBeAnother(t *testing.T) {
	dir := base(t)
	for name, want := range map[string]string{"fifo": "a pipe", "images": "a directory"} {
		_, err := osfile.OpenRegularIn(dir, name)
		if kind := (*osfile.KindError)(nil); !errors.As(err, &kind) || !strings.HasSuffix(err.Error(), "found "+want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, err := osfile.OpenRegularIn(dir, "images/good")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestReadLinkInReadsTheTextOfALink(t *testing.T) {
	dir := base(t)
	want, err := os.Readlink(filepath.Join(dir.Name(), "images/good"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := osfile.ReadLinkIn(dir, "images/good", 100); err != nil || text != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
	if text, err := osfile.ReadLinkIn(dir, "images/good", 3); err != nil || text != want[:3] {
		t.Errorf("with a limit: %q, %v", text, err)
	}
	if _, err := osfile.ReadLinkIn(dir, "plain", 100); err == nil || !strings.Contains(err.Error(), "want a symbolic link") {
		t.Errorf("a file: %v", err)
	}
	if _, err := osfile.ReadLinkIn(dir, "absent", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestPlainFSHasNoLinks(t *testing.T) {
	fsys := osfile.PlainFS{Dir: base(t)}
	if b, err := fs.ReadFile(fsys, "plain"); err != nil || string(b) != "plain" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := fs.ReadFile(fsys, "images/good"); !errors.As(err, new(*osfile.KindError)) {
		t.Errorf("a link: %v", err)
	}
}

func write(text string) func(*os.File) error {
	return func(f *os.File) error { _, err := f.WriteString(text); return err }
}

func names(t *testing.T, dir *os.File) string {
	t.Helper()
	entries, err := os.ReadDir(dir.Name())
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return strings.Join(s, " ")
}

func openTemp(t *testing.T) *os.File {
	t.Helper()
	dir, err := osfile.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func TestPublishIsAllOrNothing(t *testing.T) {
	dir, stop := openTemp(t), errors.New("stop")
	fail := func(*os.File) error { return stop }
	if err := osfile.Publish(dir, "a", 0o644, fail, nil); !errors.Is(err, stop) || names(t, dir) != "" {
		t.Errorf("when write stops: %v, directory holds %q", err, names(t, dir))
	}
	if err := osfile.Publish(dir, "a", 0o644, write("x"), fail); !errors.Is(err, stop) || names(t, dir) != "" {
		t.Errorf("when beforeLink stops: %v, directory holds %q", err, names(t, dir))
	}
	readOnly := func(f *os.File) error {
		if _, err := f.WriteString("y"); err == nil {
			t.Error("beforeLink can still write")
		}
		return nil
	}
	if err := osfile.Publish(dir, "a", 0o640, write("x"), readOnly); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir.Name(), "a"))
	if err != nil || info.Mode() != 0o640 || info.Size() != 1 {
		t.Errorf("published file: %v, %v", info, err)
	}
	if err := osfile.Publish(dir, "a", 0o644, write("new"), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("publishing over a file: %v, want fs.ErrExist", err)
	}
	if err := osfile.Replace(dir, "a", 0o644, write("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := osfile.ReadFileIn(dir, "a", 10); string(b) != "new" || names(t, dir) != "a" {
		t.Errorf("after Replace: %q, %v, directory holds %q", b, err, names(t, dir))
	}
}

func TestLocksExcludeEachOther(t *testing.T) {
	a := openTemp(t)
	b, err := osfile.OpenDir(a.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := osfile.Lock(a, false); err != nil {
		t.Fatal(err)
	}
	if ok, err := osfile.TryLock(b, false); !ok || err != nil {
		t.Errorf("a second shared lock: %v, %v", ok, err)
	}
	if ok, err := osfile.TryLock(b, true); ok || err != nil {
		t.Errorf("an exclusive lock beside a shared one: %v, %v", ok, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := osfile.TryLock(b, true); !ok || err != nil {
		t.Errorf("an exclusive lock alone: %v, %v", ok, err)
	}
}

func TestNothingButAFileOrALinkGivesWay(t *testing.T) {
	dir := openTemp(t)
	at := func(name string) string { return filepath.Join(dir.Name(), name) }
	for _, c := range []struct {
		name, kind string
		make       func(path string) error
	}{
		{"fifo", "a pipe", func(p string) error { return unix.Mkfifo(p, 0o644) }},
		{"socket", "a socket", func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) }},
		{"directory", "a directory", func(p string) error { return os.Mkdir(p, 0o755) }},
		{"char", "a character device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 7))) }},
		{"block", "a block device", func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o644, int(unix.Mkdev(7, 250))) }},
	} {
		if err := c.make(at(c.name)); errors.Is(err, unix.EPERM) {
			continue // only root makes devices
		} else if err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(at(c.name))
		never := func(*os.File) error { t.Errorf("%s: the work was done before the refusal", c.name); return nil }
		meanwhile := func(*os.File) error { return c.make(at(c.name + " made meanwhile")) }
		for name, err := range map[string]error{
			c.name:                     errors.Join(osfile.Replace(dir, c.name, 0o644, never), osfile.Replaceable(at(c.name))),
			c.name + " made meanwhile": osfile.Replace(dir, c.name+" made meanwhile", 0o644, meanwhile),
		} {
			var special *osfile.SpecialError
			if !errors.As(err, &special) || special.Kind() != c.kind || !strings.HasPrefix(err.Error(), at(name)+": ") {
				t.Errorf("%s: found %v", name, err)
			}
		}
		if after, err := os.Lstat(at(c.name)); err != nil || after.Mode() != before.Mode() || !os.SameFile(before, after) {
			t.Errorf("%s: it has become %v, %v", c.name, after, err)
		}
	}
	if left, _ := filepath.Glob(at(".tmp*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	os.Symlink("fifo", at("link"))
	if err := osfile.Replace(dir, "link", 0o644, write("x")); err != nil {
		t.Error(err)
	}
	if st, err := os.Lstat(at("link")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("the link became %v, %v", st, err)
	}
}

func TestFollowLinksFindsTheFileThatWouldBeWritten(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"a/b", "c"} {
		os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	for name, to := range map[string]string{
		"c/deep": "../a/b", "file": "c/new", "up": "c/deep/../x", "abs": dir + "/c/new", "chain": "file", "loop": "loop", "device": "/dev/null",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"plain": dir + "/plain", "file": dir + "/c/new", "chain": dir + "/c/new", "abs": dir + "/c/new",
		"up":          dir + "/a/x", // the kernel's "..", not the text's
		"c/deep/../y": dir + "/a/y",
		"device":      "/dev/null",
	} {
		if got, err := osfile.FollowLinks(dir + "/" + name); got != want || err != nil {
			t.Errorf("%s: found %s, %v, want %s", name, got, err, want)
		}
	}
	if _, err := osfile.FollowLinks(dir + "/loop"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link to itself: found %v", err)
	}
	if _, err := osfile.FollowLinks(dir + "/nowhere/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: found %v", err)
	}
	if got, err := osfile.FollowLinks("/dev/fd/0"); !strings.HasPrefix(got, "/proc/") || err != nil {
		t.Errorf("a descriptor: found %s, %v", got, err)
	}
}

func TestFollowLinksRefusesSomebodyElsesInADirectoryForEverybody(t *testing.T) {
	testutil.RequireRoot(t) // to give files to others
	const us, owner, other = 0, 1000, 1001
	for _, c := range []struct {
		mode      os.FileMode
		dir, link int
		follows   bool
	}{
		{0o777 | os.ModeSticky, us, other, false},
		{0o777 | os.ModeSticky, owner, other, false},
		{0o777 | os.ModeSticky, owner, us, true},
		{0o777 | os.ModeSticky, owner, owner, true},
		{0o777, us, other, true},
		{0o755 | os.ModeSticky, us, other, true},
	} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		shared, link, chain := filepath.Join(dir, "shared"), filepath.Join(dir, "shared", "link"), filepath.Join(dir, "chain")
		if err := errors.Join(os.Mkdir(shared, 0o755), os.Symlink(dir+"/target", link), os.Symlink(link, chain),
			os.Lchown(link, c.link, c.link), os.Chown(shared, c.dir, c.dir), os.Chmod(shared, c.mode)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{link, chain} {
			got, err := osfile.FollowLinks(name)
			if c.follows && (got != dir+"/target" || err != nil) || !c.follows && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s of %d in a directory of %d with mode %v: found %q, %v", filepath.Base(name), c.link, c.dir, c.mode, got, err)
			}
		}
	}
}

func TestStreamsOfSomebodyElseInADirectoryForEverybodyAreRefused(t *testing.T) {
	testutil.RequireRoot(t) // to give files to others
	const us, owner, other = 0, 1000, 1001
	for _, c := range []struct {
		mode      os.FileMode
		dir, pipe int
		opens     bool
	}{
		{0o777 | os.ModeSticky, us, other, false},
		{0o777 | os.ModeSticky, owner, other, false},
		{0o777 | os.ModeSticky, owner, us, true},
		{0o777 | os.ModeSticky, owner, owner, true},
		{0o777, us, other, true},
		{0o755 | os.ModeSticky, us, other, true},
	} {
		shared := filepath.Join(t.TempDir(), "shared")
		pipe := filepath.Join(shared, "pipe")
		if err := errors.Join(os.Mkdir(shared, 0o755), unix.Mkfifo(pipe, 0o666),
			os.Chown(pipe, c.pipe, c.pipe), os.Chown(shared, c.dir, c.dir), os.Chmod(shared, c.mode)); err != nil {
			t.Fatal(err)
		}
		reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		f, err := osfile.OpenStream(pipe)
		if err == nil {
			f.Close()
		}
		if c.opens != (err == nil) || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a pipe of %d in a directory of %d with mode %v: %v", c.pipe, c.dir, c.mode, err)
		}
		if check := osfile.CheckStream(pipe); (check == nil) != (err == nil) {
			t.Errorf("CheckStream says %v, OpenStream %v", check, err)
		}
	}
}

func TestStreamsAreOpenedForWritingAndNothingElseIs(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := errors.Join(os.WriteFile(dir+"/file", []byte("kept"), 0o644), os.Symlink("/dev/null", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	for path, opens := range map[string]bool{
		"/dev/null": true, fmt.Sprintf("/proc/self/fd/%d", w.Fd()): true,
		"/dev/zero": false, dir: false, dir + "/file": false, dir + "/none": false,
		dir + "/link": false, // FollowLinks has been there
	} {
		f, err := osfile.OpenStream(path)
		if err == nil {
			f.Close()
		}
		if (err == nil) != opens {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(dir + "/file"); string(text) != "kept" || err != nil {
		t.Errorf("the file has %q now, %v", text, err)
	}
}

func TestTrustedFilesAreOpenedByAnyPathWithoutALinkAtItsEnd(t *testing.T) {
	work := t.TempDir()
	for _, dir := range []string{"a/b/c", "keys.d"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"policy", "a/policy", "a/b/policy", "keys.d/policy"} {
		if err := os.WriteFile(filepath.Join(work, file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"a/link": "../keys.d", "a/file": "policy"} {
		if err := os.Symlink(target, filepath.Join(work, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(work, "a/b"))
	for name, want := range map[string]string{
		"policy":                        "a/b/policy",
		"./policy":                      "a/b/policy",
		"../policy":                     "a/policy",
		"../../policy":                  "policy",
		"../../keys.d/policy":           "keys.d/policy",
		filepath.Join(work, "a/policy"): "a/policy",
		"../../a/link/../policy":        "a/policy",
	} {
		f, err := osfile.OpenTrusted(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != want {
			t.Errorf("%s: found %q, %v; want %q", name, got, err, want)
		}
		f.Close()
	}
	for _, name := range []string{"../link/policy", "../file", filepath.Join(work, "a/link/policy")} {
		if f, err := osfile.OpenTrusted(name); !isKind(err) {
			t.Errorf("%s: found %v, %v; want a KindError", name, f, err)
		}
	}
	for _, name := range []string{"/", ".", "..", "c", "../..", "../../keys.d", filepath.Join(work, "keys.d"), "/usr"} {
		f, err := osfile.OpenTrustedDir(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f.Close()
	}
	if f, err := osfile.OpenTrustedDir("../link"); !isKind(err) {
		t.Errorf("../link: found %v, %v; want a KindError", f, err)
	}
	for _, name := range []string{"/nothing-of-this-name", "../nothing", "nothing"} {
		if f, err := osfile.OpenTrusted(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: found %v, %v; want that it isn't there", name, f, err)
		}
	}
}

func isKind(err error) bool {
	var kind *osfile.KindError
	return errors.As(err, &kind)
}
