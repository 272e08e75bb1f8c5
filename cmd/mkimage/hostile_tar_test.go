package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// program is a command that runs this test binary as mkimage.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"mkimage"}, args...)
	return cmd
}

// archiveOf makes an archive of files with as many x as they have bytes.
func archiveOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := strings.Repeat("x", int(h.Size))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rewrite changes the first header of an archive and gives it its checksum.
func rewrite(archive []byte, at int, text string) []byte {
	b := bytes.Clone(archive)
	copy(b[at:], text)
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

const sizeField = 124 // of a header, 12 bytes

func fileHeader(name string, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}
}

func linkHeader(typeflag byte, name, target string) tar.Header {
	return tar.Header{Typeflag: typeflag, Name: name, Linkname: target, Mode: 0o777}
}

// pax makes an archive of one file by hand, with records that archive/tar would refuse.
func pax(t *testing.T, content string, records ...string) []byte {
	t.Helper()
	var text strings.Builder
	for _, r := range records {
		length := len(r) + 4
		if length > 99 {
			length++
		}
		fmt.Fprintf(&text, "%d %s\n", length, r)
	}
	head := archiveOf(t, fileHeader("pax", int64(text.Len())))
	head = rewrite(head, 156, "x")
	copy(head[512:], text.String())
	body := archiveOf(t, fileHeader("file", int64(len(content))))
	copy(body[512:], content)
	return append(head[:len(head)-1024], body...)
}

func TestATarThatLiesIsRefusedAndNothingIsWritten(t *testing.T) {
	large := archiveOf(t, fileHeader("a", 100_000))
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"dot dot", archiveOf(t, fileHeader("a/../../outside", 100)), `".." in it, which could lead out of the root`},
		{"a hard link with dot dot", archiveOf(t, linkHeader(tar.TypeLink, "a", "../outside")), `".." in it`},
		{"an absolute hard link", archiveOf(t, linkHeader(tar.TypeLink, "a", "/etc/passwd")), `hard link to "/etc/passwd": no such file came before it`},
		{"a hard link to itself", archiveOf(t, linkHeader(tar.TypeLink, "a", "a")), `hard link to "a": no such file came before it`},
		{"a hard link to a directory", archiveOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755}, linkHeader(tar.TypeLink, "a", "d")), "that is a directory"},
		{"a file below an absolute symlink", archiveOf(t, linkHeader(tar.TypeSymlink, "a", "/tmp"), fileHeader("a/outside", 100)), `want a directory at "a", found a symbolic link to "/tmp"`},
		{"cut in a file", large[:50_000], "the archive is truncated"},
		{"cut in a header", large[:300], "the archive is truncated"},
		{"without its end", large[:len(large)-1024], "the archive ends here without two blocks of zeros"},
		{"a size that is too large", rewrite(large, sizeField, "77777777777\x00"), "the archive is truncated"},
		{"a size that is too small", rewrite(large, sizeField, "00000000144\x00"), "a header is damaged"},
		{"a negative size", rewrite(large, sizeField, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x9c"), "a header is damaged"},
		{"a size of 2^95", rewrite(large, sizeField, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "a header is damaged"},
		{"a pax size that is too large", pax(t, "content", "size=1000000"), "the archive is truncated"},
		{"a pax size that is negative", pax(t, "content", "size=-5"), "a header is damaged"},
		{"a pax record that ends elsewhere", bytes.Replace(pax(t, "content", "comment=1"), []byte("13 comment"), []byte("99 comment"), 1), "a header is damaged"},
		{"a sparse map that goes back", pax(t, strings.Repeat("x", 1024), "GNU.sparse.size=9000", "GNU.sparse.numblocks=2", "GNU.sparse.map=4096,512,0,512"), "a header is damaged"},
		{"a sparse map beyond its file", pax(t, strings.Repeat("x", 512), "GNU.sparse.size=100", "GNU.sparse.numblocks=1", "GNU.sparse.map=4096,512"), "a header is damaged"},
		{"a sparse map of other data", pax(t, "short", "GNU.sparse.size=9000", "GNU.sparse.numblocks=1", "GNU.sparse.map=4096,512"), "sparse file references non-existent data"},
		{"two archives", append(bytes.Clone(large), large...), "other bytes follow the end of the archive"},
		{"no archive", []byte(strings.Repeat("no archive ", 1000)), "is a text: want a tar archive"},
		{"a billion entries", bomb(t, gzipped, 150_000), "too many entries, more than 100000; if you trust the archive, raise the limit"},
		{"a billion entries in zstd", bomb(t, zstded, 150_000), "too many entries, more than 100000"},
		{"zeros without end", padding(t), "bytes of zeros follow the end of the archive"},
		{"deep directories without entries", deepBomb(t), "too many entries, more than 100000; if you trust the archive, raise the limit"},
		{"a file of holes", pax(t, "", "GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,0"), "it unpacks to more than 171"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			repo := filepath.Join(dir, "repo")
			if out, err := program(t, "build", "--repo", repo, "tar:"+writeIn(t, dir, "good.tar", archiveOf(t, fileHeader("good", 1000)))).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			bad := writeIn(t, dir, "bad.tar", tt.archive)
			before := filesIn(t, dir)
			cmd := program(t, "build", "--quiet", "--strict", "--max-entries", "100000", "--repo", repo, "tar:"+bad)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), tt.want) || !strings.HasPrefix(string(out), "mkimage: "+bad) {
				t.Errorf("%v: %s", err, out)
			}
			if after := filesIn(t, dir); before != after {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
			if used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; used > 256<<10 {
				t.Errorf("it took %d KiB of memory", used)
			}
		})
	}
}

// Names that begin with "/" or "./" are below the root, as GNU tar has it.
func TestAbsoluteNamesStayInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	image := filepath.Join(dir, "image")
	archive := writeIn(t, dir, "a.tar", archiveOf(t, fileHeader(outside, 100), fileHeader("./b", 100), linkHeader(tar.TypeSymlink, "c", "/../../etc")))
	if out, err := program(t, "build", "--repo", filepath.Join(dir, "repo"), "--output", image, "tar:"+archive).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file was written outside of the repository")
	}
	out, err := program(t, "ls", image).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n"+outside+"\t@ ") || !strings.Contains(string(out), "/b\t@ ") || !strings.Contains(string(out), "/c\t-> /../../etc\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func writeIn(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstded(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err)
	}
	return z
}

// bomb is a short archive of many entries.
func bomb(t *testing.T, pack func(io.Writer) io.WriteCloser, entries int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := pack(&b)
	w := tar.NewWriter(z)
	for i := range entries {
		h := fileHeader(fmt.Sprint(i), 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// deepBomb is an archive of a few hundred kilobytes that names millions of directories.
func deepBomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zstded(&b)
	w := tar.NewWriter(z)
	for i := range 2000 {
		h := fileHeader(fmt.Sprint(i, strings.Repeat("/d", 4000)), 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// padding is a short archive that unpacks to gigabytes of zeros after its end.
func padding(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zstded(&b)
	if _, err := io.Copy(z, io.MultiReader(bytes.NewReader(archiveOf(t, fileHeader("a", 10))), io.LimitReader(zeros{}, 1<<28))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
