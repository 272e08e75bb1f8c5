package imagemount_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunInPrivateMounts(m)) }

// A fixture is an image of one file, /large, with the object that has its content.
type fixture struct {
	dir     string
	content []byte
	object  string // path
	digest  verity.Digest
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	testutil.RequireRoot(t)
	x := fixture{dir: t.TempDir(), content: bytes.Repeat([]byte("o"), 5000)}
	d := verity.Sum(verity.SHA256, x.content)
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	root.Add("large", &tree.Node{Kind: tree.Regular, Perm: 0o644, Nlink: 1, Size: uint64(len(x.content)), Payload: d.ObjectPath(), Object: d})
	x.object = filepath.Join(x.dir, "objects", d.ObjectPath())
	var b bytes.Buffer
	if err := erofs.Write(&b, root, erofs.V1); err != nil {
		t.Fatal(err)
	}
	x.digest = verity.Sum(verity.SHA256, b.Bytes())
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(x.object), 0o755),
		os.Mkdir(filepath.Join(x.dir, "m"), 0o755),
		os.WriteFile(x.object, x.content, 0o644),
		os.WriteFile(filepath.Join(x.dir, "image"), b.Bytes(), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x fixture) path(name string) string { return filepath.Join(x.dir, name) }

func (x fixture) open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(x.path(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// read returns what /large of the mounted image reads as, and unmounts it.
func (x fixture) read(t *testing.T) ([]byte, error) {
	t.Helper()
	defer func() {
		if err := mount.Unmount(x.path("m")); err != nil {
			t.Error(err)
		}
	}()
	return os.ReadFile(x.path("m/large"))
}

// flip changes one byte of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestAnImageIsMountedIfItIsTheOneMeant(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, x *fixture)
		level  imagemount.VerityLevel
		want   error // of mounting
		reads  bool  // the file can be read then
	}{
		{"whole", func(*testing.T, *fixture) {}, imagemount.Off, nil, true},
		{"a byte of the image", func(t *testing.T, x *fixture) { flip(t, x.path("image"), 1100) }, imagemount.Off, verity.ErrMismatch, false},
		{"a byte of the image, where fs-verity is tried", func(t *testing.T, x *fixture) { flip(t, x.path("image"), 1100) }, imagemount.Try, verity.ErrMismatch, false},
		{"another digest", func(_ *testing.T, x *fixture) { x.digest = verity.Sum(verity.SHA256, nil) }, imagemount.Off, verity.ErrMismatch, false},
		{"a digest of another algorithm", func(_ *testing.T, x *fixture) { x.digest = verity.Sum(verity.SHA512, nil) }, imagemount.Off, verity.ErrMismatch, false},
		{"any image", func(t *testing.T, x *fixture) { x.digest = verity.Digest{} }, imagemount.Implied, nil, true},
		{"any image, an object without fs-verity", func(t *testing.T, x *fixture) { x.digest = verity.Digest{} }, imagemount.Require, nil, false},
		{"any image, a changed object", func(t *testing.T, x *fixture) { x.digest = verity.Digest{}; flip(t, x.object, 4999) }, imagemount.Require, nil, false},
		{"a link that leads to the object", func(t *testing.T, x *fixture) {
			if err := errors.Join(os.Rename(x.object, x.object+"x"), os.Symlink(filepath.Base(x.object)+"x", x.object)); err != nil {
				t.Fatal(err)
			}
		}, imagemount.Off, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newFixture(t)
			c.tamper(t, &x)
			o := imagemount.Options{Digest: x.digest, Verity: c.level, Basedirs: []string{x.path("objects")}}
			if _, err := o.Mount(kernel.New(), x.open(t, "image"), x.path("m")); !errors.Is(err, c.want) {
				t.Fatalf("mount: %v, want %v", err, c.want)
			}
			if c.want != nil {
				if left, err := os.ReadDir(x.path("m")); err != nil || len(left) > 0 {
					t.Errorf("mounted: %v, %v", left, err)
				}
				return
			}
			if b, err := x.read(t); (err == nil) != c.reads || c.reads && !bytes.Equal(b, x.content) {
				t.Errorf("read %d bytes: %v, want %v", len(b), err, c.reads)
			}
		})
	}
}

// Whatever takes the place of image, objects and mount point between looking and
// mounting, what was looked at is mounted.
func TestWhatWasCheckedIsWhatIsMounted(t *testing.T) {
	x := newFixture(t)
	o := imagemount.Options{Digest: x.digest, Verity: imagemount.Off, Objects: x.open(t, "objects")}
	p, err := o.Plan(kernel.New(), x.open(t, "image"), x.path("m"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, name := range []string{"image", "objects", "m"} {
		if err := os.Rename(x.path(name), x.path("old-"+name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(x.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Mount(kernel.New()); err != nil {
		t.Fatal(err)
	}
	if p.Report.Digest == nil || *p.Report.Digest != x.digest {
		t.Errorf("the digest is %v", p.Report.Digest)
	}
	if left, err := os.ReadDir(x.path("m")); err != nil || len(left) > 0 {
		t.Errorf("in the new directory there is %v, %v", left, err)
	}
	b, err := os.ReadFile(x.path("old-m/large"))
	if err != nil || !bytes.Equal(b, x.content) {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if err := mount.Unmount(x.path("old-m")); err != nil {
		t.Error(err)
	}
}

// A seal that is wanted and isn't there refuses an image that would be mounted without.
func TestAnImageWithoutASealIsRefusedWhereOneIsWanted(t *testing.T) {
	x := newFixture(t)
	none := func(sign.File) ([]byte, error) { return nil, os.ErrNotExist }
	o := imagemount.Options{Verity: imagemount.Off, Signed: true, ReadSeal: none, Basedirs: []string{x.path("objects")}}
	if _, err := o.Plan(kernel.New(), x.open(t, "image"), x.path("m")); err == nil {
		t.Error("planned without a seal")
	}
	o.Signed = false
	p, err := o.Plan(kernel.New(), x.open(t, "image"), x.path("m"))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// What options or image ask for and the kernel lacks is refused, never left out.
func TestAKernelThatLacksSomethingIsNamed(t *testing.T) {
	plain := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	withACL := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	withACL.SetXattr("system.posix_acl_access", []byte("x"))
	for _, c := range []struct {
		lacks kernel.Feature
		root  *tree.Node
		level imagemount.VerityLevel
		says  []string
	}{
		{kernel.OverlayVerity, plain, imagemount.Require, []string{"Linux 6.6"}},
		{kernel.EROFSACL, withACL, imagemount.Off, []string{"access control lists", "CONFIG_EROFS_FS_POSIX_ACL"}},
	} {
		name := filepath.Join(t.TempDir(), "image")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := erofs.Write(f, c.root, erofs.V1); err != nil {
			t.Fatal(err)
		}
		m := imagemount.Options{Basedirs: []string{filepath.Dir(name)}, Verity: c.level}
		k := kernel.New(c.lacks)
		_, err = m.Mount(k, f, filepath.Dir(name))
		var missing *kernel.MissingError
		if !errors.As(err, &missing) || missing.Feature != c.lacks {
			t.Fatalf("%v, want a MissingError of %s", err, c.lacks.Name())
		}
		for _, part := range append(c.says, k.Release()) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q doesn't say %q", err, part)
			}
		}
	}
}
