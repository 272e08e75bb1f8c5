package setup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const accessList = "system.posix_acl_access"

// acl is user::rwx, user:1001:rwx, group::---, mask::rwx, other::---.
var acl = []byte("\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\xe9\x03\x00\x00" +
	"\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")

func withACL() *tree.Node {
	root := &tree.Node{Kind: tree.Directory, Perm: 0o770, Nlink: 2}
	root.SetXattr(accessList, acl)
	return root
}

// MountImage is asked with an image of the tree on a kernel that lacks off.
func mountImage(t *testing.T, root *tree.Node, f erofs.Format, off ...kernel.Feature) (*linux, error) {
	t.Helper()
	testutil.RequireRoot(t)
	mountTmpfs(t, "/run")
	var image bytes.Buffer
	if err := erofs.Write(&image, root, f); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image")
	writeTestFile(t, name, image.String())
	l := newLinux(kernel.New(off...), kmsg.New(nil, t.Output()))
	var err error
	if l.image, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Abandon()
		l.image.Close()
	})
	return l, l.MountImage()
}

func TestAccessControlListsAreMountedInEveryFormat(t *testing.T) {
	for _, f := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		l, err := mountImage(t, withACL(), f)
		if err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 100)
		if n, err := unix.Getxattr(procPath(l.meta), accessList, value); err != nil || !bytes.Equal(value[:n], acl) {
			t.Errorf("%v: the root's list is %x, %v; want %x", f, value[:max(n, 0)], err, acl)
		}
	}
}

// What a kernel without them takes for the group's rights is the mask of the list.
func TestAccessControlListsNeedAKernelThatObeysThem(t *testing.T) {
	plain := &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2}
	for _, c := range []struct {
		name   string
		root   *tree.Node
		format erofs.Format
		ok     bool
	}{
		{"V0 with a list", withACL(), erofs.V0, false},
		{"V1 with a list", withACL(), erofs.V1, false},
		{"V1 without", plain, erofs.V1, true},
		{"V2, which doesn't say", plain, erofs.V2, true},
	} {
		_, err := mountImage(t, c.root, c.format, kernel.EROFSACL)
		var missing *kernel.MissingError
		if refused := errors.As(err, &missing) && missing.Feature == kernel.EROFSACL; refused == c.ok || c.ok && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A state directory that can't have the list of the directory that it stands for is
// an error: the bits for the group that it would have instead are the list's mask.
func TestAStateDirectoryHasTheListOfItsModel(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	like, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	if err := unix.Setxattr(dir, accessList, acl, 0); err != nil {
		t.Fatal(err)
	}
	for fstype, want := range map[string]error{"tmpfs": nil, "ramfs": unix.EOPNOTSUPP} {
		at := filepath.Join(t.TempDir(), fstype)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(fstype, at, fstype, 0, ""); err != nil {
			t.Fatal(err)
		}
		d, err := os.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		if err := imitate(d, like); !errors.Is(err, want) {
			t.Errorf("on %s: %v, want %v", fstype, err, want)
		}
		d.Close()
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	}
}
