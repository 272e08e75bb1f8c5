package initrd_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// elf is a module in so far as anything looks at it.
func elf(name string) []byte { return []byte("\x7fELF " + name) }

func pack(t *testing.T, name string, data []byte) *fstest.MapFile {
	t.Helper()
	var out bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	var err error
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	default:
		return &fstest.MapFile{Data: data}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: out.Bytes()}
}

const (
	dep = `# made by hand
kernel/fs/erofs/erofs.ko.xz: kernel/lib/lz4.ko.zst kernel/lib/crc16.ko
kernel/fs/overlayfs/overlay.ko.gz:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko:
kernel/lib/crc16.ko:
kernel/lib/lz4.ko.zst: kernel/lib/crc16.ko
kernel/crypto/crc32c-generic.ko:
kernel/crypto/crc32c_fast.ko:
kernel/drivers/nvme-core.ko: kernel/drivers/nvme-auth.ko
kernel/drivers/nvme-auth.ko:
kernel/drivers/nvme.ko: kernel/drivers/nvme-core.ko kernel/drivers/nvme-auth.ko
kernel/late.ko:
`
	builtin = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/ata/ahci.ko\n"
	softdep = `# comment
softdep ext4 pre: crc32c
softdep ext4 pre: virtio-pci post: late
softdep late pre: ext4
softdep overlay pre: nowhere
`
	alias = "alias crc32c crc32c_fast\nalias crc32c crc32c_generic\nalias pci:v*d* nvme\nalias\n"
)

func modules(t *testing.T) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{
		"modules.dep": {Data: []byte(dep)}, "modules.builtin": {Data: []byte(builtin)},
		"modules.softdep": {Data: []byte(softdep)}, "modules.alias": {Data: []byte(alias)},
	}
	for line := range strings.Lines(dep) {
		if file, _, ok := strings.Cut(line, ":"); ok {
			out[file] = pack(t, file, elf(file))
		}
	}
	return out
}

func kernel(t *testing.T) *initrd.Kernel {
	t.Helper()
	k, err := initrd.NewKernel(modules(t), "DIR", "6.12-test")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func names(list []initrd.Module) string {
	var out []string
	for _, m := range list {
		out = append(out, m.Name)
	}
	return strings.Join(out, " ")
}

// Modules come after all that they need, each once.
func TestResolve(t *testing.T) {
	for _, test := range []struct{ name, wants, order string }{
		{"alone", "overlay", "overlay"},
		{"dependencies, last first", "erofs", "crc16 lz4 erofs"},
		{"shared dependency once", "erofs jbd2 erofs", "crc16 lz4 erofs jbd2"},
		{"softdeps by alias, before and after", "ext4", "crc16 jbd2 crc32c_fast crc32c_generic ext4 late"},
		{"softdeps in a circle", "late", "crc16 jbd2 crc32c_fast crc32c_generic ext4 late"},
		{"dash for underscore", "nvme-core crc32c-generic", "nvme_auth nvme_core crc32c_generic"},
		{"chain", "nvme", "nvme_auth nvme_core nvme"},
		{"built in", "virtio_pci ahci", ""},
		{"alias", "crc32c", "crc32c_fast crc32c_generic"},
		{"optional and absent", "?floppy overlay", "overlay"},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wants []initrd.Want
			for _, w := range strings.Fields(test.wants) {
				name, optional := strings.CutPrefix(w, "?")
				wants = append(wants, initrd.Want{Name: name, Optional: optional})
			}
			got, err := kernel(t).Resolve(wants)
			if err != nil || names(got) != test.order {
				t.Errorf("order is %q, want %q, error %v", names(got), test.order, err)
			}
		})
	}
}

// What can't work is refused with the module and the place.
func TestKernelRefuses(t *testing.T) {
	_, err := kernel(t).Resolve([]initrd.Want{{Name: "xfs"}})
	for _, part := range []string{"xfs", "DIR", "6.12-test"} {
		if !errors.Is(err, initrd.ErrModules) || !strings.Contains(err.Error(), part) {
			t.Errorf("want an error with %q, found %v", part, err)
		}
	}
	for _, test := range []struct {
		name string
		fs   fstest.MapFS
		says string
	}{
		{"no modules.dep", fstest.MapFS{}, "DIR has no modules.dep"},
		{"no modules.builtin", fstest.MapFS{"modules.dep": {}}, "modules.builtin"},
		{"no colon", fstest.MapFS{"modules.dep": {Data: []byte("\nkernel/a.ko\n")}}, "modules.dep, line 2"},
		{"path that climbs out", fstest.MapFS{"modules.dep": {Data: []byte("../a.ko:\n")}}, "below this directory"},
		{"dependency elsewhere", fstest.MapFS{"modules.dep": {Data: []byte("a.ko: /etc/b.ko\n")}}, "below this directory"},
		{"endless line", fstest.MapFS{"modules.dep": {Data: bytes.Repeat([]byte("x"), 2<<20)}}, "too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := initrd.NewKernel(test.fs, "DIR", "6.12-test")
			if !errors.Is(err, initrd.ErrModules) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error saying %q, found %v", test.says, err)
			}
		})
	}
}

// Whatever the compression, the same bytes come out; damage is noticed.
func TestReadModules(t *testing.T) {
	fsys := modules(t)
	fsys["broken.ko.xz"] = &fstest.MapFile{Data: []byte("\x7fELF")}
	fsys["text.ko"] = &fstest.MapFile{Data: []byte("text")}
	fsys["a.ko.lzo"] = &fstest.MapFile{Data: elf("a")}
	k, err := initrd.NewKernel(fsys, "DIR", "6.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"kernel/fs/ext4/ext4.ko", "kernel/fs/erofs/erofs.ko.xz", "kernel/fs/overlayfs/overlay.ko.gz", "kernel/lib/lz4.ko.zst"} {
		data, err := k.Read(initrd.Module{File: file})
		if err != nil || !bytes.Equal(data, elf(file)) {
			t.Errorf("%s reads %q, error %v", file, data, err)
		}
	}
	for _, file := range []string{"broken.ko.xz", "text.ko", "a.ko.lzo", "absent.ko"} {
		if _, err := k.Read(initrd.Module{File: file}); !errors.Is(err, initrd.ErrModules) || !strings.Contains(err.Error(), "DIR/"+file) {
			t.Errorf("%s: found %v", file, err)
		}
	}
}

// modprobe is of the same opinion about a real kernel, for every module that an
// initrd is likely to have. COMPOSEFS_TEST_KERNEL_ROOT names a directory that has
// one below lib/modules.
func TestModprobeAgrees(t *testing.T) {
	root := testutil.RequireEnv(t, "COMPOSEFS_TEST_KERNEL_ROOT")
	modprobe := testutil.RequireTool(t, "modprobe")
	dirs, err := filepath.Glob(filepath.Join(root, "lib/modules/*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no kernel in %s: %v", root, err)
	}
	k, err := initrd.NewKernel(os.DirFS(dirs[0]), dirs[0], filepath.Base(dirs[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range append(initrd.RootModules("ext4"), initrd.Want{Name: "btrfs"}, initrd.Want{Name: "xfs"}, initrd.Want{Name: "nfsv4"}, initrd.Want{Name: "dm_verity"}) {
		t.Run(w.Name, func(t *testing.T) {
			out, err := exec.Command(modprobe, "-d", root, "-S", k.Version(), "--show-depends", w.Name).Output()
			mine, mineErr := k.Resolve([]initrd.Want{{Name: w.Name}})
			if (err == nil) != (mineErr == nil) {
				t.Fatalf("modprobe: %v, ours: %v", err, mineErr)
			}
			var theirs []string
			for line := range strings.Lines(string(out)) {
				if file, ok := strings.CutPrefix(line, "insmod "); ok {
					theirs = append(theirs, strings.SplitN(strings.ReplaceAll(filepath.Base(file), "-", "_"), ".", 2)[0])
				}
			}
			// modprobe stops at the first of several softdep lines that it likes;
			// we take all, so there may be more of ours in between.
			if got := strings.Fields(names(mine)); !slices.Equal(common(got, theirs), theirs) || w.Name != "btrfs" && len(got) != len(theirs) {
				t.Errorf("order is %q, modprobe's %q", got, theirs)
			}
			for _, m := range mine {
				if _, err := k.Read(m); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// common returns those of list that are in other.
func common(list, other []string) (out []string) {
	for _, s := range list {
		if slices.Contains(other, s) {
			out = append(out, s)
		}
	}
	return out
}

// listed returns the names of the modules in a modules.dep.
func listed(dep []byte) map[string]bool {
	names := make(map[string]bool)
	for line := range strings.Lines(string(dep)) {
		line = strings.TrimRight(line, "\n")
		if file, _, ok := strings.Cut(line, ":"); ok && line[0] != '#' {
			base, _, _ := strings.Cut(filepath.Base(file), ".ko")
			names[strings.ReplaceAll(base, "-", "_")] = true
		}
	}
	return names
}

// Whatever modules.dep and modules.softdep say, a resolution ends, and names every
// module of the kernel exactly once.
func FuzzResolve(f *testing.F) {
	f.Add([]byte(dep), []byte(softdep), []byte(alias))
	f.Add([]byte("a.ko: b.ko\nb.ko: a.ko\n"), []byte("softdep a pre: a b post: a"), []byte("alias c a"))
	f.Fuzz(func(t *testing.T, dep, softdep, alias []byte) {
		k, err := initrd.NewKernel(fstest.MapFS{
			"modules.dep": {Data: dep}, "modules.builtin": {}, "modules.softdep": {Data: softdep}, "modules.alias": {Data: alias},
		}, "DIR", "6.1")
		if err != nil {
			return
		}
		var wants []initrd.Want
		for name := range listed(dep) {
			wants = append(wants, initrd.Want{Name: name})
		}
		order, err := k.Resolve(wants)
		if err != nil {
			t.Fatalf("a module of the kernel's own list is not found: %v", err)
		}
		seen := make(map[string]bool)
		for _, m := range order {
			if seen[m.Name] {
				t.Fatalf("%s is there twice", m.Name)
			}
			seen[m.Name] = true
		}
		if len(order) != len(wants) {
			t.Fatalf("%d modules for %d names", len(order), len(wants))
		}
	})
}
