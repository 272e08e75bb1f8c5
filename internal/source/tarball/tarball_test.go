package tarball_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/verity"
)

// An entry is a line of an archive.
type entry struct {
	tar.Header
	content string
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o700}}
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content))}, content}
}

func hardLink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func other(typeflag byte, name string) entry {
	return entry{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o600}}
}

func global(records ...string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g"}}.pax(records...)
}

func (e entry) with(change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

func (e entry) pax(records ...string) entry {
	e.PAXRecords = map[string]string{}
	for i := 0; i < len(records); i += 2 {
		e.PAXRecords[records[i]] = records[i+1]
	}
	return e
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func options(change ...func(*tarball.Options)) tarball.Options {
	o := tarball.Options{Sink: directory.NewDigests(verity.SHA256)}
	for _, c := range change {
		c(&o)
	}
	return o
}

// readFrom returns the tree of one archive.
func readFrom(ctx context.Context, r io.Reader, o tarball.Options) (*tree.Node, error) {
	b := tarball.NewBuilder(o)
	if err := b.Apply(ctx, r); err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

func read(b []byte, change ...func(*tarball.Options)) (*tree.Node, error) {
	return readFrom(context.Background(), bytes.NewReader(b), options(change...))
}

// list writes a tree as text, a line for each name.
func list(root *tree.Node) string {
	var b strings.Builder
	for path, e := range tree.Walk(root) {
		n := e.Node
		fmt.Fprintf(&b, "%s kind %d %o %d:%d", path, n.Kind, n.Perm, n.UID, n.GID)
		if e.Link {
			b.WriteString(" link")
		}
		if n.Mtime != (tree.Time{}) {
			fmt.Fprintf(&b, " time %d.%09d", n.Mtime.Sec, n.Mtime.Nsec)
		}
		if n.Kind == tree.Regular {
			fmt.Fprintf(&b, " size %d %q %.8s", n.Size, n.Inline, n.Payload)
		}
		if n.Kind != tree.Directory {
			fmt.Fprintf(&b, " nlink %d", n.Nlink)
		}
		if n.Target != "" || n.Rdev != 0 {
			fmt.Fprintf(&b, " -> %q %#x", n.Target, n.Rdev)
		}
		for _, x := range n.Xattrs() {
			fmt.Fprintf(&b, " %s=%q", x.Name, x.Value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

var long = strings.Repeat("content ", 20)

func TestWhatAnArchiveMeans(t *testing.T) {
	const aclText = "user::rwx\nuser:7:r--\ngroup::r-x,group:daemon:-w-:1,mask::r-x\nother::--x"
	for _, c := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"names are relative to the root, however they begin",
			[]entry{dir("./"), file("./a", "1"), file("/b", "2"), file("c", "3"), dir("d//"), file("d/./e", "4")},
			"/ kind 2 700 0:0\n/a kind 1 600 0:0 size 1 \"1\"  nlink 1\n/b kind 1 600 0:0 size 1 \"2\"  nlink 1\n" +
				"/c kind 1 600 0:0 size 1 \"3\"  nlink 1\n/d kind 2 700 0:0\n/d/e kind 1 600 0:0 size 1 \"4\"  nlink 1\n"},
		{"a parent without an entry has attributes of its own until an entry comes",
			[]entry{file("a/b/c", ""), dir("a")},
			"/ kind 2 755 0:0\n/a kind 2 700 0:0\n/a/b kind 2 755 0:0\n/a/b/c kind 1 600 0:0 size 0 \"\"  nlink 1\n"},
		{"what is larger than 64 bytes is an object",
			[]entry{file("a", long[:64]), file("b", long[:65])},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 64 \"" + long[:64] + "\"  nlink 1\n/b kind 1 600 0:0 size 65 \"\" " +
				verity.Sum(verity.SHA256, []byte(long[:65])).ObjectPath()[:8] + " nlink 1\n"},
		{"the first name of a file, depth first, is the original",
			[]entry{file("z", "1"), hardLink("b/a", "z"), hardLink("c", "/b/a"), symlink("s", "x"), hardLink("a", "./s")},
			"/ kind 2 755 0:0\n/a kind 7 777 0:0 nlink 2 -> \"x\" 0x0\n/b kind 2 755 0:0\n/b/a kind 1 600 0:0 size 1 \"1\"  nlink 3\n" +
				"/c kind 1 600 0:0 link size 1 \"1\"  nlink 3\n/s kind 7 777 0:0 link nlink 2 -> \"x\" 0x0\n/z kind 1 600 0:0 link size 1 \"1\"  nlink 3\n"},
		{"a later entry replaces an earlier one, and a directory keeps its children",
			[]entry{dir("d"), file("d/f", "1"), file("x", "1"), hardLink("y", "x"), file("x", "2"),
				dir("d").with(func(h *tar.Header) { h.Mode = 0o711 }), dir("e"), file("e/f", ""), file("e", "3"), hardLink("y", "y")},
			"/ kind 2 755 0:0\n/d kind 2 711 0:0\n/d/f kind 1 600 0:0 size 1 \"1\"  nlink 1\n/e kind 1 600 0:0 size 1 \"3\"  nlink 1\n" +
				"/x kind 1 600 0:0 size 1 \"2\"  nlink 1\n/y kind 1 600 0:0 size 1 \"1\"  nlink 1\n"},
		{"devices have the kernel's number, and a FIFO is one",
			[]entry{other(tar.TypeChar, "c").with(func(h *tar.Header) { h.Devmajor, h.Devminor = 0xabc, 0x12345 }), other(tar.TypeBlock, "b"), other(tar.TypeFifo, "f")},
			"/ kind 2 755 0:0\n/b kind 4 600 0:0 nlink 1\n/c kind 3 600 0:0 nlink 1 -> \"\" 0x123abc45\n/f kind 5 600 0:0 nlink 1\n"},
		{"times have nanoseconds, before 1970 and after 2038 too",
			[]entry{
				file("a", "").with(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatPAX, time.Unix(-2, 500_000_001) }),
				file("b", "").with(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatPAX, time.Unix(1<<33, 999_999_999) }),
				file("c", "").with(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatGNU, time.Unix(-1<<35, 0) })},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 time -2.500000001 size 0 \"\"  nlink 1\n" +
				"/b kind 1 600 0:0 time 8589934592.999999999 size 0 \"\"  nlink 1\n/c kind 1 600 0:0 time -34359738368.000000000 size 0 \"\"  nlink 1\n"},
		{"extended attributes have any bytes, and = and % in their names",
			[]entry{file("a", "").pax("SCHILY.xattr.user.a%3Db%25", "v=\x00\xff", "SCHILY.xattr.user.0", "", "LIBARCHIVE.xattr.user.x", "eA")},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 0 \"\"  nlink 1 user.0=\"\" user.a=b%=\"v=\\x00\\xff\" user.x=\"x\"\n"},
		{"access control lists as text become attributes",
			[]entry{dir("a").pax("SCHILY.acl.access", aclText, "SCHILY.acl.default", "user::rwx,group::---,other::---"),
				file("b", "").pax("SCHILY.acl.access", "user::rw-,group::---,other::---")},
			"/ kind 2 755 0:0\n/a kind 2 700 0:0 system.posix_acl_access=\"" +
				`\x02\x00\x00\x00\x01\x00\a\x00\xff\xff\xff\xff\x02\x00\x04\x00\a\x00\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff` +
				`\b\x00\x02\x00\x01\x00\x00\x00\x10\x00\x05\x00\xff\xff\xff\xff \x00\x01\x00\xff\xff\xff\xff` + "\" system.posix_acl_default=\"" +
				`\x02\x00\x00\x00\x01\x00\a\x00\xff\xff\xff\xff\x04\x00\x00\x00\xff\xff\xff\xff \x00\x00\x00\xff\xff\xff\xff` +
				"\"\n/b kind 1 600 0:0 size 0 \"\"  nlink 1\n"},
		{"the attribute itself counts more than its other form",
			[]entry{file("a", "").pax("RHT.security.selinux", "x", "SCHILY.acl.access", "user:joe:rwx", "SCHILY.xattr.system.posix_acl_access", "raw"),
				file("b", "").pax("RHT.security.selinux", "x", "SCHILY.xattr.security.selinux", "y")},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 0 \"\"  nlink 1 security.selinux=\"x\\x00\" system.posix_acl_access=\"raw\"\n" +
				"/b kind 1 600 0:0 size 0 \"\"  nlink 1 security.selinux=\"y\"\n"},
		{"long names and odd bytes",
			[]entry{file("d\xff\n/"+strings.Repeat("n", 255), "").with(func(h *tar.Header) { h.Format = tar.FormatGNU })},
			"/ kind 2 755 0:0\n/d\xff\n kind 2 755 0:0\n/d\xff\n/" + strings.Repeat("n", 255) + " kind 1 600 0:0 size 0 \"\"  nlink 1\n"},
		{"whiteouts without lower layers hide nothing, whatever type of entry they are",
			[]entry{file("a", "1"), hardLink("b", "a"), hardLink(".wh.a", "nothing"), file(".wh.c", ""), file("no/.wh.where", ""),
				dir("d"), file("d/e", ""), file(".wh.d", ""), file("d/.wh..wh..opq", "")},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 1 \"1\"  nlink 2\n/b kind 1 600 0:0 link size 1 \"1\"  nlink 2\n" +
				"/d kind 2 700 0:0\n/d/e kind 1 600 0:0 size 0 \"\"  nlink 1\n"},
		{"attributes that only libarchive's records have",
			[]entry{file("a", "").pax("LIBARCHIVE.xattr.user.a%3Db%01", "eHk", "LIBARCHIVE.xattr.user.p", "eA=="),
				file("b", "").pax("LIBARCHIVE.xattr.user.x", "Zm9yZWlnbg", "SCHILY.xattr.user.x", "own", "LIBARCHIVE.xattr.user.%79", "eA", "SCHILY.xattr.user.y", "own"),
				file("c", "").pax("LIBARCHIVE.xattr.security.selinux", "eA", "RHT.security.selinux", "y")},
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 0 \"\"  nlink 1 user.a=b\x01=\"xy\" user.p=\"x\"\n" +
				"/b kind 1 600 0:0 size 0 \"\"  nlink 1 user.x=\"own\" user.y=\"own\"\n" +
				"/c kind 1 600 0:0 size 0 \"\"  nlink 1 security.selinux=\"x\"\n"},
		{"owners and times of a global header are those of the files after it that have none of their own",
			[]entry{file("a", "").with(func(h *tar.Header) { h.Uid = 1 }),
				global("uid", "7", "gid", "8", "mtime", "-1.25", "comment", "x", "GNU.volume.label", "v", "SCHILY.archtype", "exustar"),
				file("b", "").with(func(h *tar.Header) { h.Uid = 1 }), dir("c").with(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatPAX, time.Unix(5, 1) }), symlink("d", "x"), hardLink("e", "a"),
				global("uid", "9", "mtime", ""), file("f", "")},
			"/ kind 2 755 0:0\n/a kind 1 600 1:0 size 0 \"\"  nlink 2\n/b kind 1 600 7:8 time -2.750000000 size 0 \"\"  nlink 1\n" +
				"/c kind 2 700 7:8 time 5.000000001\n/d kind 7 777 7:8 time -2.750000000 nlink 1 -> \"x\" 0x0\n" +
				"/e kind 1 600 1:0 link size 0 \"\"  nlink 2\n/f kind 1 600 9:8 size 0 \"\"  nlink 1\n"},
		{"a comment for the whole archive changes nothing",
			[]entry{global("comment", "1")},
			"/ kind 2 755 0:0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := read(archive(t, c.entries...))
			if err != nil {
				t.Fatal(err)
			}
			if got := list(root); got != c.want {
				t.Errorf("found\n%swant\n%s", got, c.want)
			}
			if err := tree.Check(root); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	deep := strings.Repeat("d/", 4096)
	var implicit []entry
	for i := range 21 {
		implicit = append(implicit, file(fmt.Sprint(i, strings.Repeat("/d", 100)), ""))
	}
	for _, c := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"dot dot", []entry{file("a/../../b", "")}, `entry 1, "a/../../b": the path "a/../../b" has ".." in it, which could lead out of the root`},
		{"dot dot in a hard link", []entry{hardLink("a", "../b")}, `entry 1, "a": hard link: the path "../b" has ".." in it, which could lead out of the root`},
		{"a hard link before its target", []entry{hardLink("a", "b"), file("b", "")}, `entry 1, "a": hard link to "b": no such file came before it`},
		{"a hard link to a directory", []entry{dir("b"), hardLink("a", "b")}, `entry 2, "a": hard link to "b": that is a directory`},
		{"a file as a directory", []entry{file("a", ""), file("a/b", "")}, `entry 2, "a/b": want a directory at "a", found another kind of file`},
		{"a symlink as a directory", []entry{symlink("a", "/etc"), file("a/b", "")}, `entry 2, "a/b": want a directory at "a", found a symbolic link to "/etc"`},
		{"a whiteout by way of a symlink", []entry{symlink("a", "etc"), file("a/.wh.b", "")}, `entry 2, "a/.wh.b": want a directory at "a", found a symbolic link to "etc"`},
		{"a hard link by way of a symlink", []entry{symlink("a", "etc"), file("etc/f", ""), hardLink("b", "a/f")}, `entry 3, "b": hard link to "a/f": want a directory at "a", found a symbolic link to "etc"`},
		{"a root that is a file", []entry{file("./", "").with(func(h *tar.Header) { h.Name = "." })}, `entry 1, ".": the root must be a directory`},
		{"a name of 256 bytes", []entry{file(strings.Repeat("n", 256), "")}, `invalid file name: 256 bytes, at most 255 are allowed`},
		{"too deep", []entry{dir(deep)}, "directories are nested more than 4096 deep"},
		{"too many directories without an entry", implicit, "tar archive goes beyond a limit: too many entries, more than 2000"},
		{"an unknown type", []entry{other('Q', "a")}, `entry 1, "a": type 'Q' has no meaning here`},
		{"a directory of an incremental archive", []entry{other('D', "a")}, `entry 1, "a": type 'D': it is a directory of an incremental archive`},
		{"a symlink to nothing", []entry{symlink("a", "")}, `entry 1, "a": symlink target: want 1 to 4095 bytes, found 0`},
		{"an owner that is too large", []entry{file("a", "").with(func(h *tar.Header) { h.Uid = 1 << 32 })}, `entry 1, "a": owner 4294967296:0: want numbers from 0 to 4294967295`},
		{"a device that is too large", []entry{other(tar.TypeChar, "a").with(func(h *tar.Header) { h.Devmajor = 4096 })}, `entry 1, "a": device 4096:0: want at most 4095:1048575`},
		{"an attribute without a name", []entry{file("a", "").pax("SCHILY.xattr.", "v")}, `want a name of 1 to 255 bytes, without NUL`},
		{"an attribute that is too large", []entry{file("a", "").pax("SCHILY.xattr.user.a", strings.Repeat("v", 65536))}, `extended attribute "user.a": want at most 65535 bytes, found 65536`},
		{"an attribute twice", []entry{file("a", "").pax("SCHILY.xattr.user.%", "", "SCHILY.xattr.user.%25", "")}, `extended attribute "user.%" is there twice`},
		{"an ACL with a name only", []entry{file("a", "").pax("SCHILY.acl.access", "user:joe:rwx")}, `SCHILY.acl.access: "user:joe:rwx": the number of "joe" isn't in the archive`},
		{"an ACL with two of a kind", []entry{file("a", "").pax("SCHILY.acl.access", "user::rwx,user::rwx")}, `two entries for the same user or group`},
		{"a malformed ACL", []entry{file("a", "").pax("SCHILY.acl.default", "user::rwX")}, `"user::rwX": want three letters like r-x, found "rwX"`},
		{"a global header with an attribute", []entry{global("SCHILY.xattr.user.a", "1")}, `a global header with SCHILY.xattr.user.a: only uid, gid and mtime are supported`},
		{"a global header with a name", []entry{global("path", "x")}, `a global header with path: only uid, gid and mtime are supported`},
		{"a global header with a malformed owner", []entry{global("uid", "-1")}, `a global header with uid: want a number below 2^32, found "-1"`},
		{"a global header with a malformed time", []entry{global("mtime", "1.x")}, "a global header with a malformed number or time"},
		{"an attribute that isn't base64", []entry{file("a", "").pax("LIBARCHIVE.xattr.user.a", "~")}, `LIBARCHIVE.xattr.user.a: want base64`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(archive(t, c.entries...), func(o *tarball.Options) { o.MaxEntries = 2000 })
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, tarball.ErrArchive) {
				t.Errorf("found %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAnArchiveThatIsCutOrLongerIsRefused(t *testing.T) {
	strict := func(o *tarball.Options) { o.Strict = true }
	whole := archive(t, dir("d"), file("d/a", long), file("d/b", strings.Repeat(long, 10000)), file("zeros", strings.Repeat("\x00", 1024)))
	for _, pack := range []struct {
		name string
		pack func(testing.TB, []byte) []byte
		step int
	}{{"plain", func(_ testing.TB, b []byte) []byte { return b }, 512}, {"gzip", gzipped, 97}, {"zstd", zstded, 7}} {
		packed := pack.pack(t, whole)
		if _, err := read(packed, strict); err != nil {
			t.Errorf("%s, whole: %v", pack.name, err)
		}
		for n := 0; n < len(packed); n += pack.step {
			if pack.name == "plain" && n > 4096 && n < len(packed)-4096 {
				n += 512 * 100
			}
			if _, err := read(packed[:min(n, len(packed)-1)], strict); err == nil {
				t.Errorf("%s, %d of %d bytes: want an error", pack.name, n, len(packed))
			}
		}
		damaged := bytes.Clone(packed)
		damaged[len(damaged)-5] ^= 1
		if _, err := read(damaged); err == nil {
			t.Errorf("%s, one bit changed at the end: want an error", pack.name)
		}
	}
	if _, err := read(append(bytes.Clone(whole), make([]byte, 10240)...)); err != nil {
		t.Errorf("with zeros after the end: %v", err)
	}
	_, err := read(append(bytes.Clone(whole), whole...))
	if err == nil || !strings.Contains(err.Error(), "other bytes follow the end of the archive") {
		t.Errorf("twice the same archive: %v", err)
	}
	for _, other := range []string{"", "x", "no archive at all", "\xfd7zXZ\x00", strings.Repeat("text", 1000)} {
		if _, err := read([]byte(other)); !errors.Is(err, tarball.ErrArchive) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestLimitsAreKept(t *testing.T) {
	var entries []entry
	for i := range 100 {
		entries = append(entries, file(fmt.Sprint(i), ""))
	}
	if _, err := read(archive(t, entries...), func(o *tarball.Options) { o.MaxEntries = 100 }); err != nil {
		t.Error(err)
	}
	_, err := read(archive(t, entries...), func(o *tarball.Options) { o.MaxEntries = 99 })
	if !errors.Is(err, tarball.ErrTooLarge) || !strings.HasPrefix(err.Error(), `entry 100, "99": `) {
		t.Error(err)
	}
	_, err = read(archive(t, file("a", "").pax("SCHILY.xattr.user.a", strings.Repeat("v", 60000))), func(o *tarball.Options) { o.MaxEntries = 99 })
	if !errors.Is(err, tarball.ErrTooLarge) {
		t.Errorf("with a large attribute: %v", err)
	}
}

func TestTheLayersOfAnImage(t *testing.T) {
	b := tarball.NewBuilder(options())
	for _, layer := range [][]byte{
		archive(t, dir("etc"), file("etc/a", "1"), file("etc/b", "1"), file("x", "1"), hardLink("y", "x")),
		gzipped(t, archive(t, file("etc/.wh.a", ""), file("etc/b", "2"), hardLink("z", "y"), file(".wh.x", ""))),
	} {
		if err := b.Apply(context.Background(), bytes.NewReader(layer)); err != nil {
			t.Fatal(err)
		}
	}
	want := "/ kind 2 755 0:0\n/etc kind 2 700 0:0\n/etc/b kind 1 600 0:0 size 1 \"2\"  nlink 1\n" +
		"/y kind 1 600 0:0 size 1 \"1\"  nlink 2\n/z kind 1 600 0:0 link size 1 \"1\"  nlink 2\n"
	if got := list(b.Tree()); got != want {
		t.Errorf("found\n%swant\n%s", got, want)
	}
}

func TestOptionsLeaveOutWhatTheySay(t *testing.T) {
	b := archive(t, other(tar.TypeChar, "null"), hardLink("link", "null"), file("a", "").pax("SCHILY.xattr.user.a", "1", "SCHILY.xattr.trusted.b", "2",
		"SCHILY.acl.default", "user::rwx,group::---,other::---").with(func(h *tar.Header) { h.ModTime = time.Unix(5, 0) }))
	for _, c := range []struct {
		name   string
		change func(*tarball.Options)
		want   string
	}{
		{"epoch", func(o *tarball.Options) { o.UseEpoch, o.SkipXattrs, o.SkipDevices = true, true, true },
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 size 0 \"\"  nlink 1\n"},
		{"user", func(o *tarball.Options) { o.UserXattrs, o.SkipDevices = true, true },
			"/ kind 2 755 0:0\n/a kind 1 600 0:0 time 5.000000000 size 0 \"\"  nlink 1 user.a=\"1\"\n"},
	} {
		root, err := read(b, c.change)
		if err != nil {
			t.Fatal(err)
		}
		if got := list(root); got != c.want {
			t.Errorf("%s: found\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// A fullSink has no room.
type fullSink struct{}

var errFull = errors.New("no space left on device")

func (fullSink) PutBytes([]byte) (verity.Digest, error) { return verity.Digest{}, errFull }
func (fullSink) Put(write func(io.Writer) error) (verity.Digest, int64, error) {
	var w bytes.Buffer
	return verity.Digest{}, 0, errors.Join(errFull, write(&w))
}

func TestAnErrorOfTheSinkNamesTheEntryAndEndsTheReading(t *testing.T) {
	for name, content := range map[string]string{"small": long, "large": strings.Repeat(long, 50000)} {
		b := archive(t, file("first", ""), file(name, content), file("last", content))
		_, err := read(b, func(o *tarball.Options) { o.Sink = fullSink{} })
		if !errors.Is(err, errFull) || errors.Is(err, tarball.ErrArchive) || !strings.HasPrefix(err.Error(), "store entry ") {
			t.Error(name, err)
		}
	}
}

func TestAnInterruptedReadingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	b := archive(t, file("a", strings.Repeat(long, 50000)), file("b", strings.Repeat(long, 50000)))
	o := options(func(o *tarball.Options) { o.Progress = func(int64) { cancel() } })
	if _, err := readFrom(ctx, bytes.NewReader(b), o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTeeSeesTheContentOfObjects(t *testing.T) {
	large := strings.Repeat(long, 50000)
	seen := map[string]*bytes.Buffer{}
	root, err := read(archive(t, file("a/x", "inline"), file("./a/y", large), file("b", long)), func(o *tarball.Options) {
		o.Tee = func(path string, _ *tree.Node) io.Writer {
			if path == "b" {
				return nil
			}
			seen[path] = new(bytes.Buffer)
			return seen[path]
		}
	})
	if err != nil || len(seen) != 1 || seen["a/y"].String() != large {
		t.Fatal(err, len(seen))
	}
	if got, want := root.Lookup("a").Lookup("y").Object, verity.Sum(verity.SHA256, []byte(large)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
