package boot

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A lab holds what the cases share. Everything is made when the first case asks
// for it, and once.
type lab struct {
	dir string // of its own, removed in the end

	programs func() error
	base     func() (base, error)

	mu   sync.Mutex
	made map[string]func() (string, error) // files, by name
}

// base is a sealed disk of the tiny root, and what went into it.
type base struct {
	repo        string
	image       string // hex digest of what the disk boots
	other       string // of another image that is whole and on the same disk
	key, pub    string // what sealed both
	wrong       string // a private key that no initrd knows, unless a case wants that
	wrongPub    string
	disk        string
	large       string // digest of the object with /usr/share/large
	replacement string // digest of an object of other content
	init        string // digest of the object with the guest's init
}

var shared *lab

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "composefs-boot-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = newLab(dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func newLab(dir string) *lab {
	l := &lab{dir: dir, made: map[string]func() (string, error){}}
	l.programs = sync.OnceValue(l.buildPrograms)
	l.base = sync.OnceValues(l.buildBase)
	return l
}

// path names a file of the lab.
func (l *lab) path(name ...string) string {
	return filepath.Join(append([]string{l.dir}, name...)...)
}

// once makes the file name the first time that it is asked for.
func (l *lab) once(t *testing.T, name string, make func(path string) error) string {
	t.Helper()
	l.mu.Lock()
	f, ok := l.made[name]
	if !ok {
		f = sync.OnceValues(func() (string, error) { return l.path(name), make(l.path(name)) })
		l.made[name] = f
	}
	l.mu.Unlock()
	path, err := f()
	if err != nil {
		t.Fatalf("make %s: %v", name, err)
	}
	return path
}

// run executes a program; what it prints on standard output comes back, what it
// complains about is in the error.
func run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, complaints.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// mkimage runs ours.
func (l *lab) mkimage(args ...string) (string, error) {
	if err := l.programs(); err != nil {
		return "", err
	}
	return run(l.path("mkimage"), append([]string{"--quiet"}, args...)...)
}

func (l *lab) buildPrograms() error {
	for _, p := range []struct{ dir, pkg, out string }{
		{"../..", "./cmd/mkimage", "mkimage"},
		{"../..", "./cmd/composefs-setup-root", "composefs-setup-root"},
		{"..", "./guest", "guest"},
	} {
		if err := build(p.dir, p.pkg, l.path(p.out)); err != nil {
			return err
		}
	}
	return l.buildTests()
}

// buildTests makes programs of the tests that the guest shall run.
func (l *lab) buildTests() error {
	for _, pkg := range []string{"./verity", "./internal/store/repo"} {
		out := l.path(filepath.Base(pkg) + ".test")
		if err := goTool("../..", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", out, pkg); err != nil {
			return err
		}
	}
	return nil
}

// build makes a static program.
func build(dir, pkg, out string, options ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out}, options...)
	if strings.HasSuffix(pkg, "/composefs-setup-root") {
		args = append(args, "-gcflags=all=-l") // as it is shipped
	}
	return goTool(dir, append(args, pkg)...)
}

// goTool runs go in a directory.
func goTool(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// buildBase makes two sealed images in one repository and a disk with both.
func (l *lab) buildBase() (b base, err error) {
	if err := l.programs(); err != nil {
		return b, err
	}
	b.repo, b.disk = l.path("repo"), l.path("disk.img")
	b.key, b.pub, b.wrong, b.wrongPub = l.path("good.key"), l.path("good.pub"), l.path("wrong.key"), l.path("wrong.pub")
	for _, name := range []string{"good", "wrong"} {
		if _, err := l.mkimage("key", "new", l.path(name)); err != nil {
			return b, err
		}
	}
	if b.init, err = run("fsverity", "digest", "--compact", l.path("guest")); err != nil {
		return b, err
	}
	build := func(version string, sequence int) (string, error) {
		root := l.path("root-" + version)
		if err := l.tinyRoot(root, version); err != nil {
			return "", err
		}
		if b.image != "" {
			if err := addHostiles(b, "root-"+version); err != nil {
				return "", err
			}
		}
		return l.mkimage("build", "--repo", b.repo, "--boot", "--seal", b.key, "--sequence", fmt.Sprint(sequence), root)
	}
	if b.image, err = build("1", 1); err != nil {
		return b, err
	}
	if b.other, err = build("2", 2); err != nil {
		return b, err
	}
	if b.large, err = run("fsverity", "digest", "--compact", l.path("root-1/usr/share/large")); err != nil {
		return b, err
	}
	if b.replacement, err = run("fsverity", "digest", "--compact", l.path("root-2/usr/share/large")); err != nil {
		return b, err
	}
	return b, l.disk(b.disk, b.repo, b.image, b.other)
}

// disk makes a disk that is booted without firmware: the EFI system partition has
// a file only because there must be one.
func (l *lab) disk(path, repo string, images ...string) error {
	args := []string{"disk", "--repo", repo, "--esp", "README=" + l.path("good.pub"), "--output", path}
	for _, i := range images {
		args = append(args, "--image", i)
	}
	_, err := l.mkimage(args...)
	return err
}

// tinyRoot makes a root whose only program is the guest. Two versions have the
// same guest, and other files.
func (l *lab) tinyRoot(root, version string) error {
	for _, d := range []string{"boot", "dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "usr/lib/tests", "usr/sbin", "usr/share", "var"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	guest, err := os.ReadFile(l.path("guest"))
	if err != nil {
		return err
	}
	for _, name := range []string{"verity.test", "repo.test", "mkimage"} {
		if _, err := run("cp", l.path(name), filepath.Join(root, "usr/lib/tests")); err != nil {
			return err
		}
	}
	large := make([]byte, 3<<20+17)
	r := rand.NewChaCha8([32]byte{version[0]})
	r.Read(large)
	files := []struct {
		name    string
		content []byte
		mode    os.FileMode
	}{
		{"usr/sbin/init", guest, 0o755},
		{"usr/lib/os-release", []byte("ID=tiny\nVERSION_ID=" + version + "\nPRETTY_NAME=\"the tiny root of the boot tests, version " + version + "\"\n"), 0o644},
		{"usr/share/inline", []byte("version " + version + "\n"), 0o644},
		{"usr/share/small", large[:1000], 0o644},
		{"usr/share/large", large, 0o644},
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(root, f.name), f.content, f.mode); err != nil {
			return err
		}
	}
	return os.Symlink("usr/sbin", filepath.Join(root, "sbin"))
}

// need stops a test on a machine that can't boot anything.
func need(t *testing.T) base {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "fsverity", "apt-get", "depmod"} {
		testutil.RequireTool(t, tool)
	}
	b, err := shared.base()
	if err != nil {
		t.Fatalf("make what all boots share: %v", err)
	}
	return b
}

// kernel returns the directory of a Debian suite's kernel (see scripts/kernel) and
// its release.
func (l *lab) kernel(t *testing.T, suite string) (dir, release string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := run("../../scripts/kernel", suite)
	if err != nil {
		t.Fatalf("fetch the kernel of %s: %v", suite, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, strings.TrimSpace(string(text))
}

// initrd makes our own initrd for a suite's kernel, with a policy (may be empty)
// and the key that sealed the images.
func (l *lab) initrd(t *testing.T, suite, policy string) string {
	t.Helper()
	return l.initrdWith(t, suite, policy, []string{need(t).pub})
}

// initrdWith makes one that trusts the keys.
func (l *lab) initrdWith(t *testing.T, suite, policy string, keys []string) string {
	t.Helper()
	dir, release := l.kernel(t, suite)
	name := fmt.Sprintf("initrd-%s-%x.img", suite, hash(policy+strings.Join(keys, "\x00")))
	return l.once(t, name, func(path string) error {
		args := []string{"initrd", "--setup-root", l.path("composefs-setup-root"),
			"--modules", filepath.Join(dir, "lib/modules", release), "--output", path}
		for _, k := range keys {
			args = append(args, "--keys", k)
		}
		if policy != "" {
			config := path + ".toml"
			if err := os.WriteFile(config, []byte(policy), 0o644); err != nil {
				return err
			}
			args = append(args, "--policy", config)
		}
		_, err := l.mkimage(args...)
		return err
	})
}
