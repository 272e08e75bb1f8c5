package transform_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/verity"
)

// TestVectors compares with what composefs-rs made of the same trees: as text, and
// by the digests of the images.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/digests.json")
	if err != nil {
		t.Fatal(err)
	}
	var digests map[string]map[string]string
	if err := json.Unmarshal(text, &digests); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"policy", "nopolicy-dir", "noconfig", "notype"} {
		t.Run(name, func(t *testing.T) {
			root := load(t, name+".input.dump")
			compareDigests(t, root, name+".input.dump", digests[name+"-plain"])
			if err := transform.OCI(root, transform.AllowlistOnly); err != nil {
				t.Fatal(err)
			}
			compare(t, root, name+".oci.dump", digests[name+"-oci"])
			if err := transform.Release090.Boot(root, nil); err != nil {
				t.Fatal(err)
			}
			compare(t, root, name+".boot.dump", digests[name+"-boot"])
		})
	}
}

func load(t testing.TB, name string) *tree.Node {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := dumpfile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func parse(t testing.TB, dump string) *tree.Node {
	t.Helper()
	root, err := dumpfile.Parse(strings.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func text(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b strings.Builder
	if err := dumpfile.Write(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// compare holds a tree against the dump of another one, written by the same
// writer, since that of composefs-rs has its own way with hard links.
func compare(t *testing.T, root *tree.Node, name string, digests map[string]string) {
	t.Helper()
	if err := tree.Check(root); err != nil {
		t.Error(err)
	}
	have, want := strings.Split(text(t, root), "\n"), strings.Split(text(t, load(t, name)), "\n")
	for i := range max(len(have), len(want)) {
		if i >= len(have) || i >= len(want) || fields(have[i]) != fields(want[i]) {
			t.Errorf("%s, line %d:\nfound %q\nwant  %q", name, i+1, have[min(i, len(have)-1)], want[min(i, len(want)-1)])
			break
		}
	}
	compareDigests(t, root, name, digests)
}

// compareDigests holds the tree's images against their digests.
func compareDigests(t *testing.T, root *tree.Node, name string, digests map[string]string) {
	t.Helper()
	for format, key := range map[erofs.Format]string{erofs.V0: "v0", erofs.V1: "v1", erofs.V2: "v2"} {
		h := verity.NewHasher(verity.SHA256)
		if err := erofs.Write(h, root, format); err != nil {
			t.Error(err)
		}
		if d := h.Sum().Hex(); d != digests[key] {
			t.Errorf("%s as %s: found %s, want %s", name, key, d, digests[key])
		}
	}
}

// fields is a line without the link count of a directory, which writers recompute.
func fields(line string) string {
	f := strings.Fields(line)
	if len(f) > 3 && strings.HasPrefix(f[2], "4") {
		f[3] = "-"
	}
	return strings.Join(f, " ")
}

const skeleton = `/ 0 40700 2 1 1 0 5.0 - - - user.root=1
/boot 0 40755 2 0 0 0 6.25 - - -
/boot/kernel 1 100644 9 0 0 0 1.0 - k -
/etc 0 40755 2 0 0 0 6.0 - - -
/run 0 41777 2 0 0 0 6.0 - - -
/run/lock 1 100644 9 0 0 0 1.0 - l -
/sysroot 0 40755 2 0 0 0 6.0 - - -
/usr 0 40555 2 7 8 0 100.5 - - - security.capability=c user.x=1 trusted.y=2
/usr/kernel 0 @100644 - - - - 0.0 /boot/kernel - -
/usr/lock 0 @100644 - - - - 0.0 /run/lock - -
/usr/vmlinuz 0 @100644 - - - - 0.0 /boot/kernel - -
`

func TestOCIKeepsTheXattrsOfItsMode(t *testing.T) {
	for _, test := range []struct {
		mode transform.XattrMode
		want []string
	}{
		{transform.AllowlistOnly, []string{"security.capability"}},
		{transform.KeepUser, []string{"security.capability", "user.x"}},
	} {
		root := parse(t, skeleton)
		if err := transform.OCI(root, test.mode); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*tree.Node{root, root.Lookup("usr")} {
			var names []string
			for _, x := range n.Xattrs() {
				names = append(names, x.Name)
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("mode %d: found %v, want %v", test.mode, names, test.want)
			}
		}
	}
}

func TestRootIsIndependentOfUsrAfterwards(t *testing.T) {
	root := parse(t, skeleton)
	if err := transform.OCI(root, transform.KeepUser); err != nil {
		t.Fatal(err)
	}
	root.SetXattr("user.x", []byte("root's"))
	root.RemoveXattr("security.capability")
	usr := root.Lookup("usr")
	if v, _ := usr.Xattr("user.x"); string(v) != "1" || len(usr.Xattrs()) != 2 {
		t.Errorf("found %v", usr.Xattrs())
	}
}

// TestFilesOutliveTheirOriginalNames: what /boot and /run lose may have further
// names elsewhere, of which the first becomes the original.
func TestFilesOutliveTheirOriginalNames(t *testing.T) {
	root := parse(t, skeleton)
	if err := transform.OCI(root, transform.AllowlistOnly); err != nil {
		t.Fatal(err)
	}
	usr := root.Lookup("usr")
	if lock := usr.Lookup("lock"); lock == nil || lock.Nlink != 1 {
		t.Errorf("/usr/lock: found %+v, want one link", lock)
	}
	if kernel := usr.Lookup("kernel"); kernel.Nlink != 3 {
		t.Errorf("/usr/kernel: found %d links, want 3", kernel.Nlink)
	}
	if err := transform.Release090.Boot(root, nil); err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(root); err != nil {
		t.Error(err)
	}
	if kernel := usr.Lookup("kernel"); kernel.Nlink != 2 || usr.Lookup("vmlinuz") != kernel {
		t.Errorf("/usr/kernel: found %d links, want 2", kernel.Nlink)
	}
	if e := usr.Entries(); e[0].Name != "kernel" || e[0].Link || !e[2].Link {
		t.Errorf("found %+v, want kernel as the original", e)
	}
}

func TestTransformsTwiceGiveTheSame(t *testing.T) {
	var texts [2]string
	root := load(t, "policy.input.dump")
	for i := range texts {
		if err := errors.Join(transform.OCI(root, transform.AllowlistOnly), transform.Release090.Boot(root, nil)); err != nil {
			t.Fatal(err)
		}
		texts[i] = text(t, root)
	}
	if texts[0] != texts[1] {
		t.Errorf("found\n%s\nafter\n%s", texts[1], texts[0])
	}
}

func TestLayoutErrors(t *testing.T) {
	without := func(prefix string) string {
		var b strings.Builder
		for line := range strings.Lines("/ 0 40755 2 0 0 0 0.0 - - -\n/boot 0 40755 2 0 0 0 0.0 - - -\n/sysroot 0 40755 2 0 0 0 0.0 - - -\n/usr 0 40755 2 0 0 0 0.0 - - -\n") {
			if !strings.HasPrefix(line, prefix+" ") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	for _, test := range []struct{ name, dump, message string }{
		{"no usr", without("/usr"), "want a directory /usr, found none"},
		{"no boot", without("/boot"), "want a directory /boot, found none"},
		{"no sysroot", without("/sysroot"), "want a directory /sysroot, found none"},
		{"usr a symlink", without("/usr") + "/usr 3 120777 1 0 0 0 0.0 bin - -\n", "/usr, found a file of another kind"},
		{"boot a file", without("/boot") + "/boot 1 100644 1 0 0 0 0.0 - b -\n", "/boot, found a file of another kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := transform.Release090.Boot(parse(t, test.dump), nil)
			if !errors.Is(err, transform.ErrLayout) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("found %v, want ErrLayout that says %q", err, test.message)
			}
		})
	}
	if err := transform.OCI(parse(t, without("/usr")), 0); !errors.Is(err, transform.ErrLayout) {
		t.Errorf("OCI without /usr: found %v", err)
	}
	if err := transform.OCI(parse(t, without("-")+"/run 1 120777 1 0 0 0 0.0 t - -\n"), 0); !errors.Is(err, transform.ErrLayout) {
		t.Errorf("OCI with a symlink /run: found %v", err)
	}
}
