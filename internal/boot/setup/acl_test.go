package setup_test

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
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
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

// mountImage mounts an image of the tree in the format, on a kernel that lacks off. Where it
// is put together, its root is at stagedImage.
func mountImage(t *testing.T, root *tree.Node, f erofs.Format, off ...kernel.Feature) error {
	t.Helper()
	testutil.RequireRoot(t)
	mountTmpfs(t, "/run")
	d := disk{root: t.TempDir()}
	d.put(t, root, f)
	sys := setup.NewSystem(kernel.New(off...), kmsg.New(nil, t.Output()))
	t.Cleanup(sys.Abandon)
	if err := errors.Join(sys.OpenRoot(d.root), sys.OpenImage(d.image)); err != nil {
		t.Fatal(err)
	}
	return sys.MountImage()
}

const stagedImage = "/run/composefs/stage/image"

func TestAccessControlListsAreMountedInEveryFormat(t *testing.T) {
	for _, f := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		t.Run(f.String(), func(t *testing.T) {
			if err := mountImage(t, withACL(), f); err != nil {
				t.Fatal(err)
			}
			value := make([]byte, 100)
			if n, err := unix.Getxattr(stagedImage, accessList, value); err != nil || !bytes.Equal(value[:n], acl) {
				t.Errorf("the root's list is %x, %v; want %x", value[:max(n, 0)], err, acl)
			}
		})
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
		t.Run(c.name, func(t *testing.T) {
			err := mountImage(t, c.root, c.format, kernel.EROFSACL)
			var missing *kernel.MissingError
			if refused := errors.As(err, &missing) && missing.Feature == kernel.EROFSACL; refused == c.ok || c.ok && err != nil {
				t.Error(err)
			}
		})
	}
}

// A state directory that can't have the list of the directory that it stands for is
// an error: the bits for the group that it would have instead are the list's mask.
func TestAStateDirectoryHasTheListOfItsModel(t *testing.T) {
	for fstype, want := range map[string]error{"tmpfs": nil, "ramfs": unix.EOPNOTSUPP} {
		t.Run(fstype, func(t *testing.T) {
			testutil.RequireRoot(t)
			mountTmpfs(t, "/run")
			d := disk{root: filepath.Join(t.TempDir(), "sysroot")}
			if err := errors.Join(os.Mkdir(d.root, 0o755), unix.Mount(fstype, d.root, fstype, 0, "")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(d.root, unix.MNT_DETACH) })
			object := verity.Sum(verity.SHA256, []byte(initProgram))
			root := imageTree(t, initProgram, object)
			root.Lookup("var").SetXattr(accessList, acl)
			writeTestFile(t, d.path("composefs/objects", object.ObjectPath()), initProgram)
			d.put(t, root, erofs.V1)
			err := d.boot(t, "", "[etc]\nmount = \"none\"\n")
			if !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
			value := make([]byte, 100)
			if n, err := unix.Getxattr(d.path("var"), accessList, value); want == nil && (err != nil || !bytes.Equal(value[:n], acl)) {
				t.Errorf("/var has the list %x, %v; want %x", value[:max(n, 0)], err, acl)
			}
		})
	}
}
