package mount_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunInPrivateMounts(m)) }

// image unpacks the golden image. It names one object, of 1234 bytes, 5a/5a5a….
func image(t *testing.T, dir string) *os.File {
	t.Helper()
	name := filepath.Join(dir, "image")
	if err := os.WriteFile(name, testutil.ReadFile(t, "testdata/golden-simple.v1.img.gz"), 0o644); err != nil {
		t.Fatal(err)
	}
	return open(t, name)
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mkdir(t *testing.T, elem ...string) *os.File {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return open(t, name)
}

func attach(t *testing.T, m, dir *os.File) {
	t.Helper()
	t.Cleanup(func() { m.Close() })
	if err := mount.Attach(m, dir, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mount.Detach(dir.Name()); err != nil {
			t.Error(err)
		}
	})
}

// Whatever the kernel lacks down to 6.5, the same files are there.
func TestImageMountsWithEachFeatureForcedOff(t *testing.T) {
	testutil.RequireRoot(t)
	content := bytes.Repeat([]byte("o"), 1234)
	for _, c := range []struct {
		name string
		off  []kernel.Feature
	}{
		{"everything the kernel has", nil},
		{"layers by name", []kernel.Feature{kernel.OverlayFD}},
		{"layers in one string", []kernel.Feature{kernel.OverlayFD, kernel.OverlayAppend}},
		{"a loop device", []kernel.Feature{kernel.EROFSFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, dir := kernel.New(c.off...), t.TempDir()
			objects := mkdir(t, dir, "objects")
			mkdir(t, dir, "objects/5a")
			object := filepath.Join(dir, "objects/5a", strings.Repeat("5a", 31))
			if err := os.WriteFile(object, content, 0o644); err != nil {
				t.Fatal(err)
			}
			meta, err := mount.EROFS(k, image(t, dir), false)
			if err != nil {
				t.Fatal(err)
			}
			lower := mkdir(t, dir, "lower")
			attach(t, meta, lower)
			root, err := mount.Overlay{Source: "composefs:test", Lower: meta, Data: []*os.File{objects}, ReadOnly: true}.Mount(k)
			if err != nil {
				t.Fatal(err)
			}
			attach(t, root, mkdir(t, dir, "root"))
			checkFiles(t, filepath.Join(dir, "root"), content)
			checkSource(t, filepath.Join(dir, "root"), "composefs:test")
		})
	}
}

func checkFiles(t *testing.T, root string, content []byte) {
	t.Helper()
	for name, want := range map[string]string{"regular-inline": "hihi", "regular-external": string(content)} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s: %.20q, %v; want %.20q", name, got, err, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(root, "symlink")); to != "/target" {
		t.Errorf("symlink: %q, %v", to, err)
	}
	if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing: %v, want EROFS", err)
	}
}

func checkSource(t *testing.T, path, source string) {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); f[4] == path {
			if !strings.Contains(line, " - overlay "+source+" ") {
				t.Errorf("mountinfo: %s, want source %s", line, source)
			}
			return
		}
	}
	t.Errorf("%s is not mounted", path)
}

func TestOverlayNeedsWhatItIsToldToUse(t *testing.T) {
	for _, c := range []struct {
		name    string
		off     kernel.Feature
		overlay mount.Overlay
	}{
		{"verity", kernel.OverlayVerity, mount.Overlay{Verity: true}},
		{"data-only layers", kernel.OverlayData, mount.Overlay{Data: []*os.File{os.Stdin}}},
		{"the mount calls", kernel.MountAPI, mount.Overlay{}},
	} {
		_, err := c.overlay.Mount(kernel.New(c.off))
		var missing *kernel.MissingError
		if !errors.As(err, &missing) || missing.Feature != c.off {
			t.Errorf("%s: %v, want a MissingError", c.name, err)
		}
	}
}

func TestErrorsCarryTheKernelsWords(t *testing.T) {
	testutil.RequireRoot(t)
	_, err := mount.Memory("tmpfs", "mode=cheese")
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "kernel: tmpfs: Bad value for 'mode'") {
		t.Errorf("%v, want EINVAL with what the kernel said", err)
	}
}

func TestAWritableOverlayKeepsChangesInItsUpper(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	memory, err := mount.Memory("tmpfs", "mode=0755", "size=1M")
	if err != nil {
		t.Fatal(err)
	}
	attach(t, memory, mkdir(t, dir, "memory"))
	lower := mkdir(t, dir, "lower")
	upper, work := mkdir(t, dir, "memory/upper"), mkdir(t, dir, "memory/work")
	root, err := mount.Overlay{Source: "transient", Lower: lower, Upper: upper, Work: work}.Mount(kernel.New())
	if err != nil {
		t.Fatal(err)
	}
	attach(t, root, mkdir(t, dir, "root"))
	if err := os.WriteFile(filepath.Join(dir, "root/new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(upper.Name(), "new")); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(lower.Name()); len(entries) != 0 {
		t.Errorf("the lower directory has %v", entries)
	}
}

func TestCloneIsASecondViewWithItsOwnAttributes(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	from := mkdir(t, dir, "from")
	m, err := mount.Clone(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.SetReadOnly(m); err != nil {
		t.Fatal(err)
	}
	attach(t, m, mkdir(t, dir, "to"))
	if err := os.WriteFile(filepath.Join(dir, "from/a"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "to/a")); string(b) != "a" {
		t.Errorf("through the clone: %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "to/b"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing through the clone: %v, want EROFS", err)
	}
	for f, want := range map[*os.File]bool{from: false, m: true} {
		if ro, err := mount.IsReadOnly(f); ro != want || err != nil {
			t.Errorf("%s: read-only %v, %v", f.Name(), ro, err)
		}
	}
	if err := errors.Join(mount.SetWritable(m), mount.SetPrivate(m)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "to/b"), nil, 0o644); err != nil {
		t.Error(err)
	}
}
