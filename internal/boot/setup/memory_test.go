package setup_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/verity"
)

// The copy is what is mounted, and not even its maker can change it: neither by the
// descriptor, nor by a new one, nor by a mapping.
func TestTheCopyInMemoryCantBeChanged(t *testing.T) {
	d := newDisk(t)
	content, err := os.ReadFile(d.path("composefs/objects", d.image.ObjectPath()))
	if err != nil {
		t.Fatal(err)
	}
	sys := setup.NewSystem(kernel.New(), kmsg.New(nil, t.Output()))
	t.Cleanup(sys.Abandon)
	if err := errors.Join(sys.OpenRoot(d.root), sys.OpenImage(d.image)); err != nil {
		t.Fatal(err)
	}
	sum, err := sys.HashImage(verity.SHA512)
	if err != nil || sum != verity.Sum(verity.SHA512, content) {
		t.Fatalf("%s, %v", sum, err)
	}
	writeTestFile(t, d.path("composefs/objects", d.image.ObjectPath()), "another")
	fd := copyInMemory(t)
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	wantFile(t, name, string(content))
	for what, err := range map[string]error{
		"write":     second(unix.Pwrite(fd, []byte("x"), 0)),
		"truncate":  unix.Ftruncate(fd, 0),
		"grow":      unix.Ftruncate(fd, 1<<20),
		"map":       second(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)),
		"punch":     unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096),
		"take back": second(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, 0)),
	} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", what, err)
		}
	}
	again, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write by another descriptor: %v, want EPERM", err)
	}
	// LOOP_CONFIGURE and EROFS want to read it from its start.
	b := make([]byte, len(content)+1)
	if n, err := unix.Pread(fd, b, 0); err != nil || string(b[:n]) != string(content) {
		t.Errorf("read: %d bytes, %v", n, err)
	}
}

// copyInMemory returns this process's descriptor of the copy.
func copyInMemory(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "/memfd:composefs image") {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
	}
	t.Fatal("no file in memory is open")
	return -1
}

func second[T any](_ T, err error) error { return err }
