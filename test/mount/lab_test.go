package mount

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A lab is what the machines of all kernels share.
type lab struct {
	dir                      string
	image, other             string // hex digests of a sealed image, and of another without a seal
	large, replacement       string // ... of the objects of /large in each
	largeSum, replacementSum string // SHA-256 of what they hold
	keys, disk, mkimage      string // files
	native                   string // file: an image in format V2 with the same files as the first
	vectors                  []string
}

// run executes a program and returns what it prints on standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, complaints.String())
	}
	return strings.TrimSpace(string(out))
}

func newLab(t *testing.T) *lab {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "fsverity", "busybox", "cpio", "apt-get", "depmod"} {
		testutil.RequireTool(t, tool)
	}
	l := &lab{dir: t.TempDir()}
	for name, pkg := range map[string]string{"mkimage": "./cmd/mkimage", "composefs-setup-root": "./cmd/composefs-setup-root", "show": "./mount/show"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", l.path(name))
		if name == "composefs-setup-root" {
			cmd.Args = append(cmd.Args, "-gcflags=all=-l") // as it is shipped
		}
		cmd.Args = append(cmd.Args, pkg)
		if cmd.Dir = "../.."; name == "show" {
			cmd.Dir = ".." // of the module of the tests
		}
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	l.mkimage, l.disk, l.keys = l.path("mkimage"), l.path("disk.img"), l.path("good.pub")
	l.native = l.path("native.img")
	run(t, l.mkimage, "key", "new", l.path("good"))
	l.image, l.large, l.largeSum = l.build(t, "1", "--seal", l.path("good.key"), "--sequence", "1")
	l.other, l.replacement, l.replacementSum = l.build(t, "2")
	run(t, l.mkimage, "--quiet", "build", "--format", "v2", "--output", l.native, l.path("root-1"))
	l.vectors = writeVectors(t, l.path("vectors"))
	run(t, "mke2fs", "-q", "-t", "ext4", "-O", "^verity", l.path("plain"), "8M")
	run(t, l.mkimage, "--quiet", "disk", "--repo", l.path("repo"), "--image", l.image, "--image", l.other, "--esp", "README="+l.keys, "--output", l.disk)
	return l
}

func (l *lab) path(name ...string) string {
	return filepath.Join(append([]string{l.dir}, name...)...)
}

// build makes an image of two files. The version goes into both.
func (l *lab) build(t *testing.T, version string, options ...string) (image, large, sum string) {
	t.Helper()
	content := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{version[0]})
	r.Read(content)
	root := l.path("root-" + version)
	write(t, filepath.Join(root, "inline"), "version "+version)
	write(t, filepath.Join(root, "large"), string(content))
	args := append([]string{"--quiet", "build", "--repo", l.path("repo")}, options...)
	image = run(t, l.mkimage, append(args, root)...)
	large = run(t, "fsverity", "digest", "--compact", filepath.Join(root, "large"))
	sum, _, _ = strings.Cut(run(t, "sha256sum", filepath.Join(root, "large")), " ")
	return image, large, sum
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// initrd makes one with a suite's modules, to which our programs, busybox and
// testdata/init are added: of two archives with the same file the kernel takes the
// later one's. It looks for the next archive at multiples of 4.
func (l *lab) initrd(t *testing.T, kernel string) string {
	t.Helper()
	release, err := os.ReadFile(filepath.Join(kernel, "version"))
	if err != nil {
		t.Fatal(err)
	}
	initrd := l.path(strings.TrimSpace(string(release)) + ".img")
	run(t, l.mkimage, "--quiet", "initrd", "--setup-root", l.path("composefs-setup-root"), "--keys", l.keys,
		"--modules", filepath.Join(kernel, "lib/modules", strings.TrimSpace(string(release))), "--compress", "none", "--output", initrd)
	tree := t.TempDir()
	write(t, filepath.Join(tree, "facts"), fmt.Sprintf("IMAGE=%s\nOTHER=%s\nLARGE=%s\nREPLACEMENT=%s\n", l.image, l.other, l.large, l.replacement))
	if err := os.Symlink(l.path("vectors"), filepath.Join(tree, "vectors")); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"init": "testdata/init", "bin/mkimage": l.mkimage, "bin/show": l.path("show"), "native": l.native, "plain": l.path("plain"), "sbin/mount.composefs": l.mkimage,
		"bin/busybox": testutil.RequireTool(t, "busybox"), "etc/composefs/keys.d/good.pub": l.keys,
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(tree, name), string(content))
	}
	run(t, "sh", "-c", `cd "$1" && truncate --size=%4 "$2" && find -L . -mindepth 1 | cpio --quiet -L -o -H newc >>"$2"`, "sh", tree, initrd)
	return initrd
}
