package disk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sizes are those at which the layout of fs-verity changes.
var sizes = []int{1, 100, 4095, 4096, 4097, 65535, 65536, 65537, 300000, 3000000}

// content returns bytes that don't repeat from block to block.
func content(size int) []byte {
	var out []byte
	for i := 0; len(out) < size; i++ {
		sum := sha256.Sum256([]byte(fmt.Sprint(size, i)))
		out = append(out, sum[:]...)
	}
	return out[:size]
}

func objects(alg verity.Algorithm) (out []disk.Object) {
	for _, size := range sizes {
		b := content(size)
		out = append(out, disk.Object{Digest: verity.Sum(alg, b), Size: int64(size), Open: disk.Bytes(b)})
	}
	zeros := make([]byte, 200000) // all holes
	return append(out, disk.Object{Digest: verity.Sum(alg, zeros), Size: int64(len(zeros)), Open: disk.Bytes(zeros)})
}

// sample is a disk with something of everything.
func sample(t *testing.T, alg verity.Algorithm) disk.Image {
	t.Helper()
	objects := objects(alg)
	image := objects[8].Digest
	layout := disk.Layout{
		Algorithm: alg, Meta: []byte("{\n  \"version\": 1\n}\n"), Objects: append(objects, objects[0]),
		Images: []verity.Digest{image}, Refs: map[string]verity.Digest{"stable": image, "os/v1": image},
		Seals: map[sign.File][]byte{sign.TextFile(image): []byte("composefs-seal 1\n")},
		Deploy: []disk.Deployment{{Image: image, Var: []disk.Entry{
			{Path: ".", Mode: fs.ModeDir | 0o755},
			{Path: "lib/dpkg/status", Mode: 0o644, Size: 3, Open: disk.Bytes([]byte("dpk"))},
			{Path: "mail", Mode: fs.ModeDir | fs.ModeSetgid | 0o775, GID: 8},
			{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
			{Path: `odd "name" #1 `, Mode: 0o600, UID: 100000, GID: 65534, Size: 0, Open: disk.Bytes(nil)},
			{Path: "run", Mode: fs.ModeSymlink | 0o777, Target: "/run"},
			{Path: "long", Mode: fs.ModeSymlink | 0o777, Target: "/" + strings.Repeat("x", 200)},
		}}},
	}
	root, err := layout.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return disk.Image{
		Arch: "amd64", Seed: image.Hex(), Time: time.Unix(1700000000, 0), Root: root, RootSize: 200 << 20, ESPSize: 64 << 20,
		ESP: []disk.Entry{
			{Path: "EFI/BOOT/BOOTX64.EFI", Size: 1000, Open: disk.Bytes(content(1000))},
			{Path: "EFI/Linux/composefs-0123456789+3.efi", Size: 3000000, Open: disk.Bytes(content(3000000))},
			{Path: "loader/entries", Mode: fs.ModeDir},
		},
	}
}

func requireTools(t *testing.T) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, name := range []string{"mke2fs", "debugfs", "mkfs.vfat", "mmd", "mcopy", "sfdisk"} {
		testutil.RequireTool(t, name)
	}
}

// write makes the image and returns its name.
func write(t *testing.T, im disk.Image) string {
	t.Helper()
	requireTools(t)
	// A name that means something to some of the programs must not matter.
	t.Chdir(t.TempDir())
	dir := "a ?offset=1@@2"
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := disk.Write(context.Background(), filepath.Join(dir, "d"), im, nil); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.Rename(filepath.Join(dir, "d"), name); err != nil {
		t.Fatal(err)
	}
	return name
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	testutil.RequireTool(t, name)
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// pipe runs a program that reads text.
func pipe(t *testing.T, text, name string, args ...string) {
	t.Helper()
	testutil.RequireTool(t, name)
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// cut copies a partition into a file of its own.
func cut(t *testing.T, image string, p disk.Partition) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), p.Name)
	run(t, "dd", "if="+image, "of="+name, "bs=1M", "conv=sparse", fmt.Sprintf("skip=%d", p.Offset>>20), fmt.Sprintf("count=%d", p.Size>>20))
	return name
}

func plan(t *testing.T, im disk.Image) disk.Plan {
	t.Helper()
	p, err := disk.MakePlan(im)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The checkers of each of the three formats find nothing to complain about.
func TestCheckersAgree(t *testing.T) {
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		t.Run(alg.Hash(), func(t *testing.T) {
			im := sample(t, alg)
			name, p := write(t, im), plan(t, im)
			run(t, "sfdisk", "--verify", name)
			if out := run(t, "sgdisk", "-v", name); !strings.Contains(out, "No problems found") {
				t.Error(out)
			}
			dump := strings.ToUpper(run(t, "sfdisk", "-d", name))
			for _, want := range []string{p.ESP.Type, p.Root.Type, p.ESP.UUID, p.Root.UUID, p.UUID, `NAME="ROOT"`, `NAME="ESP"`} {
				if !strings.Contains(dump, strings.ToUpper(want)) {
					t.Errorf("want %s in the partition table, found\n%s", want, dump)
				}
			}
			run(t, "fsck.vfat", "-n", cut(t, name, p.ESP))
			root := cut(t, name, p.Root)
			run(t, "e2fsck", "-fn", root)
			if out := run(t, "dumpe2fs", "-h", root); !strings.Contains(out, " verity") {
				t.Errorf("the file system has no verity feature:\n%s", out)
			}
		})
	}
}

// Same input, same bytes, at another time, in another directory, with another umask.
func TestSameInputSameBytes(t *testing.T) {
	im := sample(t, verity.SHA256)
	first := write(t, im)
	time.Sleep(2100 * time.Millisecond) // FAT counts in steps of 2 s
	t.Setenv("TZ", "Asia/Tokyo")
	second := write(t, im)
	run(t, "cmp", first, second)
	im.Seed = "other"
	a, b := plan(t, sample(t, verity.SHA256)), plan(t, im)
	if a.UUID == b.UUID || a.Root.UUID == b.Root.UUID {
		t.Error("another seed gives the same UUIDs")
	}
}

// The disk takes only the space of its content.
func TestImageIsSparse(t *testing.T) {
	im := sample(t, verity.SHA256)
	im.RootSize, im.ESPSize = 2<<30, 1<<30
	name := write(t, im)
	var kib int64
	if _, err := fmt.Sscan(run(t, "du", "-k", name), &kib); err != nil {
		t.Fatal(err)
	}
	if kib > 32<<10 {
		t.Errorf("a disk with 7 MB of content takes %d KiB", kib)
	}
}

// An object with holes is staged with them, and gives the same bytes as one without.
func TestHolesOfObjectsMakeNoDifference(t *testing.T) {
	const size = 48 << 20
	zeros := make([]byte, size)
	copy(zeros[30<<20+5:], "data")
	copy(zeros[size-3:], "end")
	dir := t.TempDir()
	dense, sparse := filepath.Join(dir, "dense"), filepath.Join(dir, "sparse")
	f, err := os.Create(sparse)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := f.WriteAt([]byte("data"), 30<<20+5)
	_, err2 := f.WriteAt([]byte("end"), size-3)
	if err := errors.Join(err1, err2, f.Close(), os.WriteFile(dense, zeros, 0o600)); err != nil {
		t.Fatal(err)
	}
	var disks []string
	for _, name := range []string{dense, sparse} {
		o := disk.Object{Digest: verity.Sum(verity.SHA256, zeros), Size: size, Open: func() (io.ReadCloser, error) { return os.Open(name) }}
		layout := disk.Layout{Algorithm: verity.SHA256, Meta: []byte("{}"), Objects: []disk.Object{o}, Images: []verity.Digest{o.Digest}}
		im := sample(t, verity.SHA256)
		if im.Root, err = layout.Entries(); err != nil {
			t.Fatal(err)
		}
		im.Seed = "seed"
		disks = append(disks, write(t, im))
	}
	run(t, "cmp", disks[0], disks[1])
	// A file that ends before its size says is refused, with holes too.
	o := disk.Object{Digest: verity.Sum(verity.SHA256, zeros), Size: size + 5, Open: func() (io.ReadCloser, error) { return os.Open(sparse) }}
	layout := disk.Layout{Algorithm: verity.SHA256, Meta: []byte("{}"), Objects: []disk.Object{o}, Images: []verity.Digest{o.Digest}}
	im := sample(t, verity.SHA256)
	if im.Root, err = layout.Entries(); err != nil {
		t.Fatal(err)
	}
	if err := disk.Write(context.Background(), filepath.Join(dir, "d"), im, nil); err == nil {
		t.Error("an object that is too short is no error")
	}
}

// Files of the ESP read back with their long names.
func TestESPContent(t *testing.T) {
	im := sample(t, verity.SHA256)
	name, p := write(t, im), plan(t, im)
	testutil.RequireTool(t, "mcopy")
	out, err := exec.Command("mcopy", "-i", fmt.Sprintf("%s@@%d", name, p.ESP.Offset), "::/EFI/Linux/composefs-0123456789+3.efi", "-").Output()
	if err != nil || !bytes.Equal(out, content(3000000)) {
		t.Errorf("read %d bytes, error %v", len(out), err)
	}
}

// Progress ends at the total, and never goes back.
func TestProgress(t *testing.T) {
	requireTools(t)
	var last, total int64
	err := disk.Write(context.Background(), filepath.Join(t.TempDir(), "d"), sample(t, verity.SHA256), func(done, of int64) {
		if done < last {
			t.Errorf("progress went from %d to %d", last, done)
		}
		last, total = done, of
	})
	if err != nil || last != total || total < 6000000 {
		t.Errorf("ended at %d of %d, error %v", last, total, err)
	}
}

// A build that is interrupted leaves nothing behind.
func TestWriteIsInterrupted(t *testing.T) {
	requireTools(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	err := disk.Write(ctx, filepath.Join(dir, "d"), sample(t, verity.SHA256), func(done, _ int64) {
		if done > 3001000 { // the ESP is there, and some of the root partition
			cancel()
		}
	})
	left, _ := os.ReadDir(dir)
	if err == nil || len(left) != 0 || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error %v, left behind %v", err, left)
	}
}
