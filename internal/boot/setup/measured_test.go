package setup_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/verity"
)

// The tests' file system has no fs-verity, so here is what a kernel would say of one
// that has, and the overlay is told that it needn't check. Whole boots with fs-verity
// are in test/boot.

// A measurer tells the fs-verity digest that a file has.
type measurer = func(*os.File, verity.Algorithm) (verity.Digest, error)

// sums has the kernel say of each file what its content's digest is.
func sums(f *os.File, alg verity.Algorithm) (verity.Digest, error) {
	info, err := f.Stat()
	if err != nil {
		return verity.Digest{}, err
	}
	return verity.SumFile(alg, f, info.Size())
}

// bootMeasured boots as far as it gets with such a kernel.
func (d disk) bootMeasured(t *testing.T, digestOf measurer) error {
	t.Helper()
	o := options(t, "composefs="+d.image.Hex(), "", 0)
	o.Sysroot = d.root
	k, log := kernel.New(), kmsg.New(nil, t.Output())
	return setup.RunOn(setup.NewTestSystem(k, log, "", digestOf), k, o, log)
}

func TestTheSelfTestSaysWhatIsWrongWithAnObject(t *testing.T) {
	const sentence = "self-test: /sbin/init of the image can't be read: "
	for _, c := range []struct {
		name   string
		spoil  func(*testing.T, disk)
		object measurer // what is measured of it
		want   string
	}{
		{"nothing", nil, sums, " is intact, so it is kernel "},
		{"changed", func(t *testing.T, d disk) { writeTestFile(t, d.object, strings.ToUpper(initProgram)) }, sums, " has another fs-verity digest"},
		{"without a digest", nil, func(*os.File, verity.Algorithm) (verity.Digest, error) {
			return verity.Digest{}, verity.ErrNotEnabled
		}, " has no fs-verity digest"},
		{"unknown", nil, func(*os.File, verity.Algorithm) (verity.Digest, error) { return verity.Digest{}, unix.EIO }, " can't be measured"},
		{"shorter", func(t *testing.T, d disk) { writeTestFile(t, d.object, "#!") }, sums, " has another size than the image says"},
		{"absent", func(t *testing.T, d disk) {
			if err := os.Remove(d.object); err != nil {
				t.Fatal(err)
			}
		}, sums, " is missing"},
		{"a link out of the repository", func(t *testing.T, d disk) {
			if err := errors.Join(os.Remove(d.object), os.Symlink("/etc/passwd", d.object)); err != nil {
				t.Fatal(err)
			}
		}, sums, " is a symbolic link, which overlayfs doesn't follow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			if c.spoil != nil {
				c.spoil(t, d)
			}
			first := true // that is the image
			err := d.bootMeasured(t, func(f *os.File, alg verity.Algorithm) (verity.Digest, error) {
				if first {
					first = false
					return sums(f, alg)
				}
				return c.object(f, alg)
			})
			kind := setup.BadObject
			if c.name == "nothing" {
				kind = setup.BadKernel
			}
			if setup.CodeOf(err) != setup.CodeSelfTest || kindOf(err) != kind || !strings.HasPrefix(err.Error(), sentence) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("status %d, %v; want %d and %q", setup.CodeOf(err), err, setup.CodeSelfTest, c.want)
			}
		})
	}
}

func TestAnImageThatIsntWhatItsNameSays(t *testing.T) {
	d := newDisk(t)
	writeTestFile(t, d.path("composefs/objects", d.image.ObjectPath()), "another")
	if err := d.bootMeasured(t, sums); setup.CodeOf(err) != setup.CodeMismatch || !strings.Contains(err.Error(), "digest mismatch: want "+d.image.String()) {
		t.Errorf("status %d, %v", setup.CodeOf(err), err)
	}
}
