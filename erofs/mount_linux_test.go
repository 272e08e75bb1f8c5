package erofs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/testing/kernelview"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// mountImage mounts an image nowhere, for the length of a test, and returns its root.
func mountImage(t *testing.T, image []byte, acl bool) *os.File {
	t.Helper()
	testutil.RequireRoot(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(image); err != nil {
		t.Fatal(err)
	}
	root, err := mount.EROFS(kernel.New(), f, acl)
	if err != nil {
		t.Fatalf("the kernel doesn't mount the image: %v", err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// compareWithMount checks that the kernel shows names, types, modes, owners, times,
// link counts, sizes, devices, targets, contents and xattrs as they are in the tree.
func compareWithMount(t *testing.T, root *tree.Node, f erofs.Format) {
	t.Helper()
	view := kernelview.View{Format: f, ACL: kernelview.ACLsAreValid(root)}
	got, err := kernelview.Mounted(mountImage(t, write(t, root, f), view.ACL))
	if err != nil {
		t.Error(err)
	}
	if want := view.Stored(root); strings.Join(want, "\n") != strings.Join(got, "\n") {
		t.Error(kernelview.FirstDifference(want, got))
	}
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

// A directory of several blocks, contents and targets of all lengths.
func TestKernelShowsTheTree(t *testing.T) {
	text := sample
	for i := range 1000 {
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
			compareWithMount(t, root, f)
		})
	}
}

// The whole set of vectors, in all formats.
func TestKernelShowsTheVectors(t *testing.T) {
	for _, v := range vectors(t) {
		for _, f := range formats {
			if v.image(f).Fail != "" {
				continue
			}
			t.Run(fmt.Sprint(v.Name, " ", f), func(t *testing.T) { compareWithMount(t, v.treeFor(t, f), f) })
		}
	}
}
