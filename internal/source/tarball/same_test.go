package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/testing/testtree"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// An archiver is a way to make an archive of a directory.
type archiver struct {
	name    string
	command []string // the archive goes to standard output; nil is Go's own writer
}

var archivers = []archiver{
	{"GNU tar", []string{"tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-cf", "-", "."}},
	{"GNU tar, sparse", []string{"tar", "--format=posix", "--sparse", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-cf", "-", "."}},
	{"GNU tar, sparse 0.0", []string{"tar", "--format=posix", "--sparse", "--sparse-version=0.0", "--xattrs", "--xattrs-include=*", "--selinux", "-cf", "-", "."}},
	{"GNU tar, sparse 0.1, zstd", []string{"tar", "--format=posix", "--sparse", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*", "--zstd", "-cf", "-", "."}},
	{"GNU tar, unsorted, without ./, gzip", []string{"sh", "-c", "find . -mindepth 1 -printf '%P\\0' | shuf -z --random-source=/bin/sh | " +
		"tar --format=posix --xattrs --xattrs-include='*' --null --no-recursion -T - -czf - --add-file=."}},
	{"bsdtar", []string{"bsdtar", "--format=pax", "--no-read-sparse", "--xattrs", "--acls", "--numeric-owner", "-cf", "-", "."}},
	{"Go", nil},
}

func TestAnArchiveHasTheDigestOfItsDirectory(t *testing.T) {
	testutil.RequireRoot(t) // for owners, devices, trusted attributes
	testutil.RequireTool(t, "tar")
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		dir := t.TempDir()
		must(t, testtree.Grow(dir, seed))
		want, err := directory.Read(context.Background(), dir, directory.Options{Sink: directory.NewDigests(verity.SHA256)})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archivers {
			if testtree.Old(seed) && a.name == "bsdtar" {
				continue // it writes -1.5 for half a second after -2
			}
			if len(a.command) > 0 {
				testutil.RequireTool(t, a.command[0])
			}
			archive := a.make(t, dir)
			if seed == 0 {
				checkRecorded(t, archive)
			}
			got, err := read(archive)
			if err != nil {
				t.Errorf("seed %d, %s: %v", seed, a.name, err)
				continue
			}
			if digest(t, got) == digest(t, want) {
				continue
			}
			t.Errorf("seed %d, %s: another digest; %s", seed, a.name, firstDifference(list(got), list(want)))
		}
	}
}

func digest(t *testing.T, root *tree.Node) (d [3]verity.Digest) {
	t.Helper()
	for i, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		h := verity.NewHasher(verity.SHA256)
		if err := erofs.Write(h, root, format); err != nil {
			t.Fatal(err)
		}
		d[i] = h.Sum()
	}
	return d
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("found\n%s\nwant\n%s", g[i], w[i])
		}
	}
	return fmt.Sprintf("found %d lines, want %d", len(g), len(w))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (a archiver) make(t *testing.T, dir string) []byte {
	t.Helper()
	if a.command == nil {
		return goArchive(t, dir)
	}
	cmd := exec.Command(a.command[0], a.command[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", a.name, err, &stderr)
	}
	return out
}

// What an archive can't say, or needn't, doesn't count: without times and attributes
// the old formats give the digest of the directory too, and so does an archive
// without the directories that are like those that nobody describes.
func TestAnArchiveThatSaysLessHasTheDigestOfItsDirectory(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireTool(t, "tar")
	plain := `find . -type d \( -not -perm 755 -o -not -user 0 -o -not -group 0 -o -newermt @0 -o -not -newermt @-1 -o -empty \) -print0 > "$0"; ` +
		`find . -not -type d -print0 >> "$0"; tar --format=posix --xattrs --xattrs-include='*' --null --no-recursion -T "$0" -cf -`
	for seed := range uint64(4) {
		dir := t.TempDir()
		must(t, testtree.Grow(dir, seed))
		for _, a := range []struct {
			archiver
			less bool
		}{
			{archiver{"GNU format", []string{"tar", "--format=gnu", "--sparse", "--numeric-owner", "-cf", "-", "."}}, true},
			{archiver{"GNU format, old", []string{"tar", "--format=oldgnu", "--numeric-owner", "-cf", "-", "."}}, true},
			{archiver{"without plain directories", []string{"sh", "-c", plain, filepath.Join(t.TempDir(), "list")}}, false},
		} {
			want, err := directory.Read(context.Background(), dir, directory.Options{
				Sink: directory.NewDigests(verity.SHA256), UseEpoch: a.less, SkipXattrs: a.less})
			must(t, err)
			b := tarball.NewBuilder(tarball.Options{Sink: directory.NewDigests(verity.SHA256), UseEpoch: a.less, SkipXattrs: a.less})
			if err := b.Apply(context.Background(), bytes.NewReader(a.make(t, dir))); err != nil {
				t.Errorf("seed %d, %s: %v", seed, a.name, err)
			} else if digest(t, b.Tree()) != digest(t, want) {
				t.Errorf("seed %d, %s: another digest; %s", seed, a.name, firstDifference(list(b.Tree()), list(want)))
			}
		}
	}
}

// goArchive writes an archive as container tools do that are made with Go.
func goArchive(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		hdr, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		hdr.Name, hdr.Format, hdr.AccessTime, hdr.ChangeTime = name, tar.FormatPAX, time.Time{}, time.Time{}
		st := info.Sys().(*syscall.Stat_t)
		if first, ok := names[st.Ino]; ok {
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first, 0
		} else if !d.IsDir() {
			names[st.Ino] = name
		}
		hdr.PAXRecords = attributes(t, path)
		if err := w.WriteHeader(hdr); err != nil || hdr.Typeflag != tar.TypeReg {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}))
	must(t, w.Close())
	return b.Bytes()
}

func attributes(t *testing.T, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	must(t, err)
	records := map[string]string{}
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		escaped := strings.NewReplacer("%", "%25", "=", "%3D").Replace(name)
		records["SCHILY.xattr."+escaped] = string(value[:n])
	}
	return records
}
