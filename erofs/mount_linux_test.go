package erofs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/testutil"
	"github.com/composefs-go/composefs/internal/tree"
)

// mountImage mounts an image for the length of a test, and returns where.
func mountImage(t *testing.T, image []byte) string {
	t.Helper()
	testutil.RequireRoot(t)
	mount := testutil.RequireTool(t, "mount")
	path, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mount, "-t", "erofs", "-o", "ro,loop", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("the kernel doesn't mount the image: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// sample has one of everything that the kernel shows as the tree has it.
const sample = `/ 0 40755 2 1 2 0 1700000000.5 - - - security.selinux=system_u:object_r:root_t:s0 user.on-root=1
/!before-dot 0 100644 1 0 0 0 -5.7 - - -
/.between 0 100644 1 0 0 0 0.0 - - -
/block 0 60640 1 0 6 2049 0.0 - - -
/char 0 20666 1 0 0 259 0.0 - - - security.selinux=system_u:object_r:null_device_t:s0
/dir 0 41777 2 100000 100000 0 1700000001.999999999 - - - user.a=1 user.b=2
/dir/empty 0 40700 2 0 0 0 0.0 - - -
/dir/link-to-file 0 @100644 2 0 0 0 0.0 /inline - -
/external 123456789 104755 1 0 0 0 1700000000.0 2d/711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 - 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 security.selinux=system_u:object_r:bin_t:s0
/fifo 0 10600 1 0 0 0 0.0 - - -
/inline 11 100644 2 0 0 0 0.0 - hello\x20world -
/na\x20me\n\xff 0 100000 1 0 0 0 0.0 - - -
/shared1 0 100644 1 0 0 0 0.0 - - - trusted.t=v user.same=value
/shared2 0 100644 70000 0 0 0 0.0 - - - trusted.u= user.same=value
/socket 0 140755 1 0 0 0 0.0 - - -
/symlink 11 120777 1 5 5 0 0.0 ../some/dir - -
`

// The kernel shows names, types, modes, owners, times, link counts, sizes,
// devices, targets, contents and xattrs as they are in the tree.
func TestKernelShowsTheTree(t *testing.T) {
	text := sample
	for i := range 1000 { // a directory of several blocks, content and targets of all lengths
		text += fmt.Sprintf("/dir/empty/%04d 0 100644 1 0 0 0 %d.0 - - - user.n=%d\n", i, i%3, i%7)
		if i%25 == 0 {
			text += fmt.Sprintf("/dir/inline-%04d %d 100644 1 0 0 0 0.0 - %s -\n", i, i*5+1, strings.Repeat("c", i*5+1))
			text += fmt.Sprintf("/dir/symlink-%04d 0 120777 1 0 0 0 0.0 %s - -\n", i, strings.Repeat("t", i*4+1))
		}
	}
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			root := parse(t, []byte(text))
			if f == erofs.V2 {
				fitV2(root)
			}
			dir := mountImage(t, write(t, root, f))
			compareWithMount(t, dir, root, f)
			if f == erofs.V2 {
				return
			}
			entries, err := os.ReadDir(dir)
			if want := root.Len() + 256; err != nil || len(entries) != want {
				t.Errorf("the root: want %d entries with the stubs, found %d, %v", want, len(entries), err)
			}
			stub := stat(t, filepath.Join(dir, "c3"))
			if stub.Mode != unix.S_IFCHR|0o644 || stub.Rdev != 0 || stub.Uid != 1 || stub.Gid != 2 {
				t.Errorf("stub c3: found mode %#o, device %d, owner %d:%d", stub.Mode, stub.Rdev, stub.Uid, stub.Gid)
			}
		})
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("stat %s: %v", path, err)
	}
	return st
}

func compareWithMount(t *testing.T, dir string, root *tree.Node, f erofs.Format) {
	t.Helper()
	inodes := make(map[*tree.Node]uint64)
	for path, e := range tree.Walk(root) {
		mounted, n := dir+path, e.Node
		st := stat(t, mounted)
		if ino, ok := inodes[n]; ok && ino != st.Ino {
			t.Errorf("%q: hard links have inodes %d and %d", path, ino, st.Ino)
		}
		inodes[n] = st.Ino
		want := fmt.Sprintf("mode %o nlink %d owner %d:%d time %d.%d", modeOf(n), nlinkOf(n), n.UID, n.GID, n.Mtime.Sec, n.Mtime.Nsec)
		got := fmt.Sprintf("mode %o nlink %d owner %d:%d time %d.%d", st.Mode, st.Nlink, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		if n.Kind == tree.Regular || n.Kind == tree.Symlink {
			want, got = fmt.Sprint(want, " size ", n.Size), fmt.Sprint(got, " size ", st.Size)
		}
		if n.Kind == tree.CharDevice || n.Kind == tree.BlockDevice {
			want, got = fmt.Sprint(want, " device ", n.Rdev), fmt.Sprint(got, " device ", st.Rdev)
		}
		if want != got {
			t.Errorf("%q:\nwant  %s\nfound %s", path, want, got)
		}
		compareData(t, mounted, n)
		if want, got := xattrsOf(n, n == root && f != erofs.V2), mountedXattrs(t, mounted); want != got {
			t.Errorf("%q: xattrs:\nwant  %s\nfound %s", path, want, got)
		}
	}
}

func modeOf(n *tree.Node) uint32 {
	types := map[tree.Kind]uint32{
		tree.Regular: unix.S_IFREG, tree.Directory: unix.S_IFDIR, tree.CharDevice: unix.S_IFCHR, tree.BlockDevice: unix.S_IFBLK,
		tree.FIFO: unix.S_IFIFO, tree.Socket: unix.S_IFSOCK, tree.Symlink: unix.S_IFLNK,
	}
	return types[n.Kind] | uint32(n.Perm)
}

func nlinkOf(n *tree.Node) uint32 {
	if n.Kind != tree.Directory {
		return n.Nlink
	}
	nlink := uint32(2)
	for _, e := range n.Entries() {
		if e.Node.Kind == tree.Directory {
			nlink++
		}
	}
	return nlink
}

func compareData(t *testing.T, path string, n *tree.Node) {
	t.Helper()
	if n.Kind == tree.Symlink {
		if target, err := os.Readlink(path); err != nil || target != n.Target {
			t.Errorf("%s: want target %q, found %q, %v", path, n.Target, target, err)
		}
	}
	if n.Kind == tree.Regular && n.Object.IsZero() {
		if content, err := os.ReadFile(path); err != nil || !bytes.Equal(content, n.Inline) {
			t.Errorf("%s: want content %q, found %q, %v", path, n.Inline, content, err)
		}
	}
}

// xattrsOf returns the xattrs that an image has of a node without whiteouts.
func xattrsOf(n *tree.Node, opaque bool) string {
	var list []string
	for _, x := range n.Xattrs() {
		list = append(list, fmt.Sprintf("%s=%q", x.Name, x.Value))
	}
	if !n.Object.IsZero() {
		list = append(list, fmt.Sprintf("trusted.overlay.metacopy=%q", append([]byte{0, 36, 0, 1}, n.Object.Bytes()...)))
		list = append(list, fmt.Sprintf("trusted.overlay.redirect=%q", "/"+n.Payload))
	}
	if opaque {
		list = append(list, `trusted.overlay.opaque="y"`)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func mountedXattrs(t *testing.T, path string) string {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		t.Errorf("list xattrs of %s: %v", path, err)
		return ""
	}
	var list []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Errorf("xattr %s of %s: %v", name, path, err)
			continue
		}
		list = append(list, fmt.Sprintf("%s=%q", name, value[:n]))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// The kernel can walk the vectors: read all directories and stat all names.
func TestKernelWalksTheVectors(t *testing.T) {
	for _, v := range vectors(t) {
		if strings.HasPrefix(v.Name, "rand") {
			continue // these have owners and ACLs that the kernel refuses
		}
		for _, f := range []erofs.Format{erofs.V1, erofs.V2} {
			if v.image(f).Fail != "" {
				continue
			}
			t.Run(fmt.Sprint(v.Name, " ", f), func(t *testing.T) {
				root := v.treeFor(t, f)
				dir := mountImage(t, write(t, root, f))
				for path := range tree.Walk(root) {
					stat(t, dir+path)
				}
			})
		}
	}
}
