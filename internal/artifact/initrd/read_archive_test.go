package initrd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// newc is an archive written by hand, to say what no tool would.
type newc struct{ bytes.Buffer }

type member struct {
	name, data string
	mode       uint32 // S_IFREG|0644 if 0
	ino, links uint32
	size       int64 // what the header claims, if not the truth
}

func (a *newc) add(m member) {
	if m.mode == 0 {
		m.mode = 0o100644
	}
	if m.size == 0 {
		m.size = int64(len(m.data))
	}
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		m.ino, m.mode, 0, 0, m.links, 0, m.size, 0, 0, 0, 0, len(m.name)+1, 0, m.name)
	a.pad()
	a.WriteString(m.data)
	a.pad()
}

func (a *newc) pad() { a.Write(make([]byte, -a.Len()&3)) }

// archive returns an archive with these members and its trailer.
func archive(members ...member) []byte {
	var a newc
	for _, m := range append(members, member{name: "TRAILER!!!"}) {
		a.add(m)
	}
	return a.Bytes()
}

func dir(name string) member          { return member{name: name, mode: 0o040755} }
func link(name, target string) member { return member{name: name, data: target, mode: 0o120777} }
func text(name, data string) member   { return member{name: name, data: data} }

// filter runs a compressor.
func filter(t *testing.T, in []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testutil.RequireTool(t, program), args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}

var compressors = []struct {
	name    string
	command []string
}{
	{"plain", []string{"cat"}},
	{"gzip", []string{"gzip", "-1"}},
	{"zstd", []string{"zstd", "-q", "-3"}},
	{"zstd without a checksum", []string{"zstd", "-q", "-1", "--no-check"}},
	{"zstd with the largest window", []string{"zstd", "-q", "-1", "--long=27"}},
	{"xz", []string{"xz", "-0", "--check=crc32"}},
	{"xz with many blocks", []string{"xz", "--check=crc64", "-0", "--block-size=65536"}},
	{"lz4", []string{"lz4", "-l"}},
}

// sourceTree is what the archives of the tests have, made by cpio.
func sourceTree(t *testing.T) (dir string, image []byte) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range map[string]string{
		"init": "#!/bin/sh\n", "usr/lib/a/empty": "", "usr/lib/a/big": strings.Repeat("some content of a file ", 500_000), "usr/bin/x y": "name with a space",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Symlink("usr/lib", filepath.Join(dir, "lib")),
		os.Symlink("/usr/lib/a/big", filepath.Join(dir, "usr/bin/absolute")),
		os.Link(filepath.Join(dir, "usr/lib/a/big"), filepath.Join(dir, "usr/bin/hard")),
	); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "find . | cpio -o -H newc --quiet")
	testutil.RequireTool(t, "cpio")
	cmd.Dir = dir
	image, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return dir, image
}

// What cpio and each compressor wrote reads as what it was; a second archive may
// follow in any compression, and adds to the first.
func TestOpenReadsWhatOthersWrote(t *testing.T) {
	tree, image := sourceTree(t)
	more := archive(dir("etc"), text("etc/more", "of the second"), text("init", "replaced"))
	for i, first := range compressors {
		packed := filter(t, image, first.command[0], first.command[1:]...)
		t.Run(first.name, func(t *testing.T) {
			a, err := initrd.Open(packed)
			if err != nil {
				t.Fatal(err)
			}
			sameTree(t, a, tree)
		})
		for _, second := range []struct {
			name    string
			command []string
		}{compressors[0], compressors[(i+1)%len(compressors)]} {
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				padded := append(bytes.Clone(packed), make([]byte, -len(packed)&3+8)...)
				a, err := initrd.Open(append(padded, filter(t, more, second.command[0], second.command[1:]...)...))
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]string{"etc/more": "of the second", "init": "replaced", "lib/a/empty": ""} {
					if got, err := a.ReadFile(name); err != nil || string(got) != want {
						t.Errorf("%s is %q, %v; want %q", name, got, err, want)
					}
				}
			})
		}
	}
}

// sameTree compares with a directory: names, kinds, permissions, contents, links.
func sameTree(t *testing.T, a *initrd.Archive, dir string) {
	t.Helper()
	list := func(fsys fs.FS) (out []string) {
		links, _ := fsys.(fs.ReadLinkFS)
		err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || name == "." {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			line := fmt.Sprint(info.Mode(), " ", name)
			switch info.Mode().Type() {
			case fs.ModeSymlink:
				target, err := links.ReadLink(name)
				line += fmt.Sprint(" -> ", target, err)
			case 0:
				data, err := fs.ReadFile(fsys, name)
				line += fmt.Sprintf(" %d bytes %.30q %v", len(data), data, err)
			}
			out = append(out, line)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return out
	}
	found, want := list(a), list(os.DirFS(dir))
	if !slices.Equal(found, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
}

// The archive keeps the promises of io/fs.
func TestArchiveIsAFileSystem(t *testing.T) {
	a, err := initrd.Open(archive(dir("usr"), dir("usr/lib"), text("usr/lib/a", "A"), text("init", ""), link("lib", "usr/lib")))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(a, "usr/lib/a", "init", "lib"); err != nil {
		t.Error(err)
	}
}

// Paths lead where they would lead the kernel, with the initrd as its root.
func TestPathsAndLinks(t *testing.T) {
	a, err := initrd.Open(archive(
		dir("."), dir("./usr"), dir("usr/lib"), link("lib", "usr/lib"), link("abs", "/usr/lib/x"),
		text("lib/x", "through a link"), link("usr/up", "../../../lib/x"), link("loop", "loop2"), link("loop2", "loop"),
		text("nowhere/y", "its directory isn't there"), text("/rooted", "leading slash"), text(".//./dots", "lead nowhere"),
		text("usr/lib/x/z", "below a file"), dir("usr/lib"), text("twice", "1"), text("twice", "2"), link("dangling", "none"),
		member{name: "device", mode: 0o020600}, text("l\x00\x00", "a name that is filled up"), link("c", "usr/lib/x\x00"),
		member{name: "h1", ino: 7, links: 3}, member{name: "h2", ino: 7, links: 3, data: "hard"}, member{name: "h3", ino: 7, links: 3},
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{"usr/lib/x", "through a link"}, {"lib/x", "through a link"}, {"abs", "through a link"}, {"usr/up", "through a link"},
		{"rooted", "leading slash"}, {"dots", "lead nowhere"}, {"twice", "2"}, {"h1", "hard"}, {"h2", "hard"}, {"h3", "hard"},
		{"l", "a name that is filled up"}, {"c", "through a link"},
	} {
		if got, err := a.ReadFile(test.path); err != nil || string(got) != test.want {
			t.Errorf("%s: found %q, %v; want %q", test.path, got, err, test.want)
		}
	}
	for _, name := range []string{"nowhere/y", "nowhere", "usr/lib/x/z", "dangling", "rooted/..", "absent"} {
		if _, err := a.Stat(name); name != "rooted/.." && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: found %v, want fs.ErrNotExist", name, err)
		}
	}
	for _, name := range []string{"loop", "device", "lib", "/rooted", "."} {
		if got, err := a.ReadFile(name); err == nil {
			t.Errorf("%s reads as %q", name, got)
		}
	}
	if target, err := a.ReadLink("dangling"); err != nil || target != "none" {
		t.Errorf("link: found %q, %v", target, err)
	}
	if _, err := a.ReadLink("rooted"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a file as a link: found %v", err)
	}
	if info, err := a.Lstat("abs"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("found %v, %v", info, err)
	}
	if info, err := a.Stat("device"); err != nil || info.Mode() != fs.ModeDevice|fs.ModeCharDevice|0o600 {
		t.Errorf("found %v, %v", info, err)
	}
	if _, err := a.ReadDir("twice"); err == nil {
		t.Error("a file lists as a directory")
	}
}

// What is none, was cut off, or would eat the machine's memory is refused, with its place.
func TestOpenRefuses(t *testing.T) {
	good := archive(text("a", "content"))
	zeros := filter(t, make([]byte, 80<<20), "gzip", "-9")
	many := make([]member, 1<<17+1)
	for i := range many {
		many[i].name = "a"
	}
	for _, test := range []struct {
		name  string
		image []byte
		says  string
	}{
		{"nothing", nil, "found none in 0 bytes"},
		{"zeros", make([]byte, 512), "found none in 512 bytes"},
		{"text", []byte("hello"), `at byte 0: want an archive, plain or compressed by gzip, zstd, xz or lz4, found "hello"`},
		{"old binary cpio", []byte("\xc7\x71 more"), "want an archive"},
		{"odc", []byte("070707" + strings.Repeat("0", 200)), `found "070707"`},
		{"cut off in a header", good[:50], "archive is cut off at its byte 0"},
		{"cut off in a name", good[:111], "cut off in a name"},
		{"cut off in a content", good[:114], `read "a": want 7 bytes, found 2`},
		{"cut off before the trailer", good[:120], "cut off at its byte 120"},
		{"not hex", bytes.Replace(good, []byte("07070100"), []byte("0707010z"), 1), "header at byte 0"},
		{"content of 4 GiB", archive(member{name: "a", size: 0xffffffff}), "want 4294967295 bytes"},
		{"name of 4 GiB", bytes.Replace(archive(text(strings.Repeat("n", 0xabc), "")), []byte("00000ABD"), []byte("F0000ABD"), 1), "want a name of 1 to 4096 bytes, found 402"},
		{"no name", bytes.Replace(good, []byte("00000002"+"00000000"+"a\x00"), []byte("00000000"+"00000000"+"a\x00"), 1), "want a name of 1"},
		{"endless link", archive(link("a", strings.Repeat("x/", 3000))), "symbolic link of at most"},
		{"at an odd place", append(append(good, 0), good...), "multiple of 4"},
		{"junk between archives", append(bytes.Clone(good), "junk"...), "at byte 244: want an archive"},
		{"junk in a compressed one", filter(t, append(bytes.Clone(good), strings.Repeat("junk", 50)...), "gzip"), `want the magic 070701 of a newc archive at its byte 244`},
		{"bomb", zeros, "unpacks to more than 64 times its size"},
		{"too many members", archive(many...), "more than 131072 members"},
		{"gzip, damaged", []byte("\x1f\x8b\x08\x00junk and more junk"), "at byte 0: "},
		{"gzip, cut off", filter(t, good, "gzip")[:30], "at byte 0: "},
		{"gzip, header alone", []byte("\x1f\x8b"), "decompress by gzip"},
		{"zstd, cut off", filter(t, good, "zstd", "-q")[:30], "decompress by zstd"},
		{"zstd, header alone", []byte("\x28\xb5\x2f\xfd"), "decompress by zstd"},
		{"zstd, no block", []byte("\x28\xb5\x2f\xfd\x00\x58\x01"), "decompress by zstd"},
		{"xz, cut off", filter(t, good, "xz")[:60], "want the end of the stream, found none"},
		{"lz4, cut off", filter(t, good, "lz4", "-l")[:60], "decompress by lz4"},
		{"lz4, no block", []byte("\x02\x21\x4c\x18"), "found none"},
		{"lz4, damaged", []byte("\x02\x21\x4c\x18\x04\x00\x00\x00\xff\xff\xff\xff"), "lz4: "},
		{"bzip2", []byte("BZh91AY"), "it is compressed by bzip2: want gzip, zstd, xz, lz4 or none"},
		{"lzma", []byte("\x5d\x00\x00\x80"), "lzma"},
		{"lzo", []byte("\x89LZO\x00"), "lzo"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := initrd.Open(test.image)
			if a != nil || !errors.Is(err, initrd.ErrArchive) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %v, want one line of ErrArchive that says %q", err, test.says)
			}
		})
	}
}

// Flipping bytes of compressed data is noticed, or does no harm.
func TestOpenSurvivesDamage(t *testing.T) {
	image := archive(text("a", strings.Repeat("content ", 100)))
	for _, c := range compressors {
		packed := filter(t, image, c.command[0], c.command[1:]...)
		for i := range packed {
			damaged := bytes.Clone(packed)
			damaged[i] ^= 0x55
			if a, err := initrd.Open(damaged); err == nil && a == nil {
				t.Errorf("%s: byte %d: neither archive nor error", c.name, i)
			}
		}
	}
}

// We read what we write.
func TestOpenReadsOurs(t *testing.T) {
	for _, c := range []initrd.Compression{initrd.None, initrd.Zstd} {
		o := options(t)
		o.Compression = c
		var out bytes.Buffer
		if err := initrd.Write(&out, o); err != nil {
			t.Fatal(err)
		}
		a, err := initrd.Open(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.ReadFile("usr/lib/composefs/keys.d/ours.pub"); err != nil || string(got) != "key 1" {
			t.Errorf("found %q, %v", got, err)
		}
		matches, err := fs.Glob(a, "usr/lib/modules/*/kernel/fs/*/*.ko")
		if err != nil || len(matches) != 2 {
			t.Errorf("found %q, %v", matches, err)
		}
	}
}

// Whatever the bytes, what is listed can be read, and no more of it than the limits allow.
func FuzzOpen(f *testing.F) {
	good := archive(dir("usr"), link("lib", "usr"), text("lib/a", "A"), member{name: "b", ino: 1, links: 2, data: "B"}, member{name: "c", ino: 1, links: 2})
	f.Add(good)
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x58\x01\x00\x00"))
	f.Add([]byte("\x02\x21\x4c\x18\x02\x00\x00\x00\x100"))
	f.Add([]byte("\xfd7zXZ\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, image []byte) {
		a, err := initrd.Open(image)
		if err != nil {
			if !errors.Is(err, initrd.ErrArchive) {
				t.Errorf("%v is no ErrArchive", err)
			}
			return
		}
		err = fs.WalkDir(a, ".", func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				_, err = a.ReadFile(name)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		over, err := initrd.OpenOver(image)
		if err != nil {
			if !errors.Is(err, initrd.ErrArchive) {
				t.Errorf("%v is no ErrArchive", err)
			}
			return
		}
		_ = fs.WalkDir(a, ".", func(name string, _ fs.DirEntry, _ error) error {
			if _, err := over.Lstat(name); err != nil {
				t.Errorf("over another initrd %s is lost: %v", name, err)
			}
			return nil
		})
	})
}

// A member whose directory may be in the other initrd is there.
func TestOverAnotherInitrdNoMemberIsLeftOut(t *testing.T) {
	a, err := initrd.OpenOver(archive(text("a/b/c", "C"), link("l", "a/b"), text("l/d", "D"), dir("a/b"), text("dev/x", "X")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/b/c": "C", "a/b/d": "D", "dev/x": "X"} {
		if got, err := a.ReadFile(name); string(got) != want || err != nil {
			t.Errorf("%s: want %s, found %s, %v", name, want, got, err)
		}
	}
	for says, image := range map[string][]byte{
		`behind the link "l"`:       archive(link("l", "elsewhere"), text("l/d", "D")),
		`want a directory at "a/f"`: archive(text("a/f", "F"), text("a/f/g/h", "H")),
	} {
		if _, err := initrd.OpenOver(image); !errors.Is(err, initrd.ErrArchive) || !strings.Contains(err.Error(), says) {
			t.Errorf("want ErrArchive that says %s, found %v", says, err)
		}
	}
}
