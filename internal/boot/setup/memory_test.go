package setup

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/verity"
)

// The copy is what is mounted, and not even its maker can change it: neither by the
// descriptor, nor by a new one, nor by a mapping.
func TestTheCopyInMemoryCantBeChanged(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	writeTestFile(t, name, initProgram)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	l := newLinux(kernel.New(), kmsg.New(nil, t.Output()))
	l.image = f
	d, err := l.HashImage(verity.SHA512)
	if err != nil || d != verity.Sum(verity.SHA512, []byte(initProgram)) {
		t.Fatalf("%s, %v", d, err)
	}
	writeTestFile(t, name, "another")
	wantFile(t, procPath(l.image), initProgram)
	for what, err := range map[string]error{
		"write":     second(l.image.WriteAt([]byte("x"), 0)),
		"truncate":  l.image.Truncate(0),
		"grow":      l.image.Truncate(1 << 20),
		"map":       second(unix.Mmap(int(l.image.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)),
		"punch":     unix.Fallocate(int(l.image.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096),
		"take back": second(unix.FcntlInt(l.image.Fd(), unix.F_ADD_SEALS, 0)),
	} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", what, err)
		}
	}
	again, err := os.OpenFile(procPath(l.image), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write by another descriptor: %v, want EPERM", err)
	}
	// LOOP_CONFIGURE and EROFS want to read it from its start.
	if b, err := io.ReadAll(io.NewSectionReader(l.image, 0, 1<<20)); err != nil || string(b) != initProgram {
		t.Errorf("read: %d bytes, %v", len(b), err)
	}
}

func TestWhatCantBeSealedIsRefused(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "on disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := seal(f); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v, want EINVAL", err)
	}
}

func second[T any](_ T, err error) error { return err }
