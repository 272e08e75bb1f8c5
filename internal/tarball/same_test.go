package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/directory"
	"github.com/composefs-go/composefs/internal/testutil"
	"github.com/composefs-go/composefs/internal/tree"
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
	seeds := 4
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		dir := t.TempDir()
		old := seed%2 == 0
		grow(t, dir, old, rand.New(rand.NewPCG(uint64(seed), 0)))
		want, err := directory.Read(context.Background(), dir, directory.Options{Sink: directory.NewDigests(verity.SHA256)})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archivers {
			if old && a.name == "bsdtar" {
				continue // it writes -1.5 for half a second after -2
			}
			if len(a.command) > 0 {
				testutil.RequireTool(t, a.command[0])
			}
			got, err := read(a.make(t, dir))
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

func digest(t *testing.T, root *tree.Node) (d [2]verity.Digest) {
	t.Helper()
	for i, format := range []erofs.Format{erofs.V0, erofs.V1} {
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

// grow makes a random tree in dir, with times before 1970 if old.
func grow(t *testing.T, dir string, old bool, r *rand.Rand) {
	t.Helper()
	dirs, files := []string{dir}, []string(nil)
	for range 120 {
		path := filepath.Join(dirs[r.IntN(len(dirs))], randomName(r))
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		switch r.IntN(12) {
		case 0, 1, 2:
			must(t, os.Mkdir(path, 0o755))
			dirs = append(dirs, path)
			continue
		case 3:
			must(t, os.Symlink(strings.Repeat("t/", 1+r.IntN(200)), path))
		case 4:
			must(t, unix.Mknod(path, []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO}[r.IntN(3)]|0o600, int(unix.Mkdev(r.Uint32N(300), r.Uint32N(70000)))))
			decorate(t, path, old, r) // and not linked: GNU tar makes a file of each name of these
			continue
		case 5:
			if len(files) > 0 {
				must(t, os.Link(files[r.IntN(len(files))], path))
			}
			continue
		case 6:
			sparse(t, path, r)
		default:
			must(t, os.WriteFile(path, bytes.Repeat([]byte{byte(r.Uint32())}, []int{0, 1, 64, 65, 5000, 512 << 10, 1<<20 + 1}[r.IntN(7)]), 0o600))
		}
		files = append(files, path)
	}
	for _, path := range files {
		decorate(t, path, old, r)
	}
	slices.Reverse(dirs)
	for _, path := range dirs {
		decorate(t, path, old, r)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func randomName(r *rand.Rand) string {
	odd := []string{"a", "-", " ", "\n", "ü", "\xff", "=", "%", ".wh", "\\", ":", "B", strings.Repeat("long", 50)}
	var b strings.Builder
	for range 1 + r.IntN(3) {
		b.WriteString(odd[r.IntN(len(odd))])
	}
	name := b.String()
	if len(name) > 255 || strings.HasPrefix(name, ".wh.") {
		return "name"
	}
	return name
}

func sparse(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for range r.IntN(30) {
		_, err := f.WriteAt([]byte("data"), r.Int64N(1<<20))
		must(t, err)
	}
	must(t, f.Truncate(1<<20+r.Int64N(1000)))
}

// decorate gives a file an owner, permissions, attributes, and at last a time.
func decorate(t *testing.T, path string, old bool, r *rand.Rand) {
	t.Helper()
	must(t, os.Lchown(path, r.IntN(1<<31), r.IntN(3)*100000))
	st, err := os.Lstat(path)
	must(t, err)
	if st.Mode().Type() != fs.ModeSymlink {
		must(t, unix.Chmod(path, r.Uint32N(0o10000)))
		acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x04\x00\x07\x00\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
		if r.IntN(4) == 0 {
			must(t, unix.Lsetxattr(path, "system.posix_acl_access", []byte(acl), 0))
		}
		if r.IntN(4) == 0 && st.IsDir() {
			must(t, unix.Lsetxattr(path, "system.posix_acl_default", []byte(acl), 0))
		}
	}
	names := []string{"trusted.overlay.opaque", "trusted.x=y%", "security.selinux", "trusted.%3D"}
	if st.Mode().IsRegular() {
		names = append(names, "user.a", "user.b")
	}
	for _, name := range names {
		if r.IntN(5) == 0 {
			must(t, unix.Lsetxattr(path, name, bytes.Repeat([]byte{0, 'v', '\n', 0xff}, r.IntN(50)), 0))
		}
	}
	if r.IntN(5) == 0 && st.Mode().IsRegular() {
		must(t, unix.Lsetxattr(path, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	}
	seconds := []int64{0, -1, -1 << 30, 1700000000, 1 << 32}[r.IntN(5)]
	if seconds < 0 && !old {
		seconds = -seconds
	}
	stamp := unix.Timespec{Sec: seconds, Nsec: []int64{0, 1, 500_000_000, 999_999_999}[r.IntN(4)]}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW))
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
