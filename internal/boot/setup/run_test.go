package setup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func TestMain(m *testing.M) {
	if os.Getenv(noRandom) != "" {
		fmt.Fprintln(os.Stderr, withoutRandom(os.Args[1:]))
		os.Exit(1)
	}
	if os.Getenv(jailed) != "" {
		os.Exit(runJailed(os.Args[1:]))
	}
	countStatements()
	os.Exit(testutil.RunInPrivateMounts(m))
}

// Where the running system and systemd find what a boot leaves for them.
const (
	recordPath   = "/run/composefs/boot.json"
	rootPath     = "/run/composefs/root"
	volatileRoot = "/run/systemd/volatile-root"
	masks        = "/run/systemd/system.control"
)

// A disk is a physical root, on a tmpfs, with one image in its repository. It has
// no fs-verity, which these tests therefore do without.
type disk struct {
	root    string // where it is mounted
	image   verity.Digest
	content verity.Digest // of /sbin/init
	object  string        // path of its object
	device  string        // that it is on, if it is on one
}

// initProgram is larger than what an image keeps inline.
var initProgram = "#!/bin/interpreter\n" + strings.Repeat("# init\n", 1000)

func newDisk(t *testing.T) disk {
	t.Helper()
	testutil.RequireRoot(t)
	mountTmpfs(t, "/run")
	d := disk{root: filepath.Join(t.TempDir(), "sysroot")}
	if err := os.Mkdir(d.root, 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, d.root)
	d.fill(t, initProgram)
	return d
}

// fill makes the repository, with an image that has the program as /sbin/init.
func (d *disk) fill(t *testing.T, program string) {
	t.Helper()
	d.content = verity.Sum(verity.SHA256, []byte(program))
	d.object = d.path("composefs/objects", d.content.ObjectPath())
	writeTestFile(t, d.object, program)
	d.put(t, imageTree(t, program, d.content), erofs.V1)
}

// put makes an image of the tree, which becomes the disk's.
func (d *disk) put(t *testing.T, root *tree.Node, f erofs.Format) {
	t.Helper()
	var image bytes.Buffer
	if err := erofs.Write(&image, root, f); err != nil {
		t.Fatal(err)
	}
	d.image = verity.Sum(verity.SHA256, image.Bytes())
	writeTestFile(t, d.path("composefs/objects", d.image.ObjectPath()), image.String())
	d.link(t, "composefs/images/"+d.image.Hex(), "../objects/"+d.image.ObjectPath())
}

func (d disk) path(elem ...string) string { return filepath.Join(append([]string{d.root}, elem...)...) }

func (d disk) link(t *testing.T, name, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(d.path(name))
	if err := os.Symlink(to, d.path(name)); err != nil {
		t.Fatal(err)
	}
}

// mountTmpfs lasts for the test. At its end goes what is at the path then: this,
// or the new root that took its place.
func mountTmpfs(t *testing.T, path string) {
	t.Helper()
	testutil.RequireRoot(t)
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
}

const etcLabel = "system_u:object_r:etc_t:s0\x00"

// imageTree is a small system: an init program that is an object, its interpreter
// inline, and /etc with a mode of its own.
func imageTree(t *testing.T, program string, object verity.Digest) *tree.Node {
	t.Helper()
	dir := func(perm uint16) *tree.Node { return &tree.Node{Kind: tree.Directory, Perm: perm, Nlink: 2} }
	file := func(text string) *tree.Node {
		return &tree.Node{Kind: tree.Regular, Perm: 0o755, Nlink: 1, Size: uint64(len(text)), Inline: []byte(text)}
	}
	add := func(to *tree.Node, name string, n *tree.Node) *tree.Node {
		if err := to.Add(name, n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	root := dir(0o755)
	add(add(root, "bin", dir(0o755)), "interpreter", file("#!"))
	etc := add(root, "etc", dir(0o751))
	etc.UID, etc.GID = 3, 4
	etc.SetXattr("security.selinux", []byte(etcLabel))
	add(etc, "hostname", file("host"))
	add(etc, "systemd", dir(0o755))
	add(add(root, "sbin", dir(0o755)), "init", &tree.Node{Kind: tree.Regular, Perm: 0o755, Nlink: 1, Size: uint64(len(program)), Object: object, Payload: object.ObjectPath()})
	for _, name := range []string{"home", "opt", "proc", "run", "sysroot"} {
		add(root, name, dir(0o755))
	}
	add(add(add(root, "usr", dir(0o755)), "lib", dir(0o755)), "os-release", file("ID=test\n"))
	add(root, "var", dir(0o755))
	return root
}

// boot runs the program as a service would, on the disk.
func (d disk) boot(t *testing.T, cmdline, policy string, keys ...sign.Key) error {
	t.Helper()
	if cmdline == "" {
		cmdline = "composefs=" + d.image.Hex()
	}
	if !strings.Contains(policy, "fs-verity") {
		policy += "\n[verify]\nfs-verity = \"off\"\n"
	}
	o := options(t, cmdline, policy, 0)
	o.Sysroot, o.Keys = d.root, keys
	return setup.Run(o, kmsg.New(nil, t.Output()))
}

func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantFile(t *testing.T, name, want string) {
	t.Helper()
	if b, err := os.ReadFile(name); err != nil || string(b) != want {
		t.Errorf("%s: %.40q, %v; want %.40q", name, b, err, want)
	}
}

func TestRunPutsTheNewRootInThePlaceOfTheOld(t *testing.T) {
	d := newDisk(t)
	if err := d.boot(t, "", ""); err != nil {
		t.Fatal(err)
	}
	state := d.path("sysroot/state/deploy", d.image.Hex())
	wantFile(t, d.path("sbin/init"), initProgram)
	wantFile(t, d.path("etc/hostname"), "host")
	writeTestFile(t, d.path("etc/new"), "e")
	writeTestFile(t, d.path("var/new"), "v")
	wantFile(t, filepath.Join(state, "etc/upper/new"), "e")
	wantFile(t, filepath.Join(state, "var/new"), "v")
	if err := os.WriteFile(d.path("usr/new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to /usr: %v, want EROFS", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(d.path("etc"), &st); err != nil || st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 {
		t.Errorf("/etc has mode %o, owner %d:%d, %v; want those of the image", st.Mode, st.Uid, st.Gid, err)
	}
	label := make([]byte, 64)
	if n, err := unix.Getxattr(filepath.Join(state, "etc/upper"), "security.selinux", label); err != nil || string(label[:n]) != etcLabel {
		t.Errorf("the state of /etc has the label %q, %v; want the image's", label[:n], err)
	}
	after := mounts(t)
	if strings.Contains(after, " /run/composefs") || strings.Count(after, " "+d.root+" ") != 1 {
		t.Errorf("left behind, or more than one mount at the root:\n%s", after)
	}
	record, err := os.ReadFile(recordPath)
	if err != nil || !strings.Contains(string(record), d.image.String()) || !strings.Contains(string(record), `"not-required"`) {
		t.Errorf("record: %s, %v", record, err)
	}
}

func TestRunAgainKeepsTheStateAndTheModes(t *testing.T) {
	d := newDisk(t)
	deploy := d.path("state/deploy", d.image.Hex())
	writeTestFile(t, deploy+"/etc/upper/kept", "k")
	writeTestFile(t, deploy+"/var/kept", "k")
	if err := d.boot(t, "", "[root]\nsysroot = \"ro\""); err != nil {
		t.Fatal(err)
	}
	wantFile(t, d.path("etc/kept"), "k")
	wantFile(t, d.path("var/kept"), "k")
	if err := os.WriteFile(d.path("sysroot/new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to /sysroot: %v, want EROFS", err)
	}
	writeTestFile(t, d.path("etc/new"), "n")
}

func TestRunWithoutState(t *testing.T) {
	d := newDisk(t)
	if err := unix.Mount("", d.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	policy := "[root]\ntransient = true\n[etc]\ntransient = true\n[var]\nmount = \"volatile\"\n"
	if err := d.boot(t, "", policy); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "usr/new", "etc/new", "var/new"} {
		writeTestFile(t, d.path(name), "n")
	}
	var st unix.Stat_t
	if err := unix.Stat(d.path("etc"), &st); err != nil || st.Mode&0o7777 != 0o751 {
		t.Errorf("/etc has mode %o, %v", st.Mode, err)
	}
	if err := os.WriteFile(d.path("sysroot/new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to /sysroot: %v, want EROFS", err)
	}
}

func TestAReadOnlyRootIsMadeWritableForState(t *testing.T) {
	d := newDisk(t)
	if err := unix.Mount("", d.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.boot(t, "", "[etc]\nmount = \"root\""); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, d.path("etc/new"), "n")
	wantFile(t, d.path("sysroot/etc/new"), "n")
}

// An image needs directories for the state that the policy keeps, but none for the root that
// it lies on.
func TestDirectoriesThatTheImageLacks(t *testing.T) {
	for name, kind := range map[string]setup.Kind{"sysroot": "", "etc": setup.NoMountPoint, "var": setup.NoMountPoint} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			root := imageTree(t, initProgram, d.content)
			root.Remove(name)
			d.put(t, root, erofs.V1)
			err := d.boot(t, "", "")
			var p *setup.Problem
			if kindOf(err) != kind || errors.As(err, &p) && p.Dir != name || err == nil && kind != "" || err != nil && kind == "" {
				t.Errorf("%v, want the kind %q", err, kind)
			}
		})
	}
}

// What is forbidden stays where it is, out of sight: in no way that /etc and /var
// have a say in. Nothing is made where there was nothing.
func TestForbiddenExtensionsAreHiddenAndMasked(t *testing.T) {
	d := newDisk(t)
	// As with systemd in the initramfs: what is mounted on a directory appears wherever
	// else its mount is, and goes when one of these goes.
	if err := unix.Mount("", d.root, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	deploy := d.path("state/deploy", d.image.Hex())
	for _, name := range []string{"etc/upper/extensions/evil", "var/lib/extensions/evil", "var/lib/extensions.mutable/usr"} {
		writeTestFile(t, filepath.Join(deploy, name, "file"), "x")
	}
	if err := d.boot(t, "", "[verify]\nextensions = \"forbid\"\nfs-verity = \"off\"\n"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/extensions", "var/lib/extensions", "var/lib/extensions.mutable"} {
		if entries, err := os.ReadDir(d.path(dir)); err != nil || len(entries) > 0 {
			t.Errorf("/%s holds %v, %v", dir, entries, err)
		}
	}
	if _, err := os.Lstat(d.path("var/lib/confexts")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/var/lib/confexts: %v, want nothing", err)
	}
	for _, unit := range []string{"sysext", "confext", "sysext-sysroot", "confext-sysroot"} {
		if to, err := os.Readlink(filepath.Join(masks, "systemd-"+unit+".service")); to != "/dev/null" {
			t.Errorf("%s is a link to %q, %v", unit, to, err)
		}
	}
	wantFile(t, d.path("sysroot/state/deploy", d.image.Hex(), "var/lib/extensions/evil/file"), "x")
}

func TestAllowedExtensionsAreLeftAlone(t *testing.T) {
	d := newDisk(t)
	writeTestFile(t, d.path("state/deploy", d.image.Hex(), "var/lib/extensions/mine/file"), "x")
	if err := d.boot(t, "", ""); err != nil {
		t.Fatal(err)
	}
	wantFile(t, d.path("var/lib/extensions/mine/file"), "x")
	if _, err := os.Lstat(masks); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want nothing", masks, err)
	}
}

// A refused boot leaves the machine as it was, for an emergency shell.
func TestRunRefusesAndLeavesEverythingAsItWas(t *testing.T) {
	for _, c := range []struct {
		name, cmdline, policy string
		spoil                 func(*testing.T, disk)
		code                  setup.Code
		want                  string
	}{
		{"no repository", "", "", func(t *testing.T, d disk) {
			if err := os.Rename(d.path("composefs"), d.path("other")); err != nil {
				t.Fatal(err)
			}
		}, setup.CodeNotFound, "no directory composefs"},
		{"the object of init is missing", "", "", func(t *testing.T, d disk) {
			if err := os.Remove(d.object); err != nil {
				t.Fatal(err)
			}
		}, setup.CodeSelfTest, " is missing"},
		{"forbidden extensions by a link", "", "[verify]\nextensions = \"forbid\"\nfs-verity = \"off\"", func(t *testing.T, d disk) {
			d.link(t, "state/deploy/"+d.image.Hex()+"/var/lib/extensions", "/sysroot/evil")
		}, setup.CodeMount, "extensions are forbidden: mount /var/lib/extensions: "},
		{"forbidden extensions below a link", "", "[verify]\nextensions = \"forbid\"\nfs-verity = \"off\"", func(t *testing.T, d disk) {
			d.link(t, "state/deploy/"+d.image.Hex()+"/var/lib", "/sysroot/evil")
		}, setup.CodeMount, "extensions are forbidden: mount /var/lib/extensions: "},
		{"forbidden extensions, and no masks for what merges them", "", "[verify]\nextensions = \"forbid\"\nfs-verity = \"off\"", func(t *testing.T, d disk) {
			writeTestFile(t, masks, "")
		}, setup.CodeMount, "system.control: not a directory"},
		{"no init", "init=/absent composefs=IMAGE", "", nil, setup.CodeSelfTest, "/absent"},
		{"an image that isn't one", "", "", func(t *testing.T, d disk) {
			writeTestFile(t, d.path("composefs/objects", d.image.ObjectPath()), strings.Repeat("x", 9000))
		}, setup.CodeMount, "not a composefs image"},
		{"another image, hashed in user space", "", "[verify]\nfs-verity = \"userspace\"", func(t *testing.T, d disk) {
			writeTestFile(t, d.path("composefs/objects", d.image.ObjectPath()), "x")
		}, setup.CodeMismatch, "digest mismatch"},
		{"no fs-verity here", "", "[verify]\nfs-verity = \"require\"", nil, setup.CodeMismatch, "fs-verity"},
		{"an image that is a link out of the repository", "", "", func(t *testing.T, d disk) {
			d.link(t, "composefs/images/"+d.image.Hex(), "../../../../etc/passwd")
		}, setup.CodeNotFound, "cross-device"},
		{"a state directory that is a link", "", "", func(t *testing.T, d disk) {
			d.link(t, "state/deploy", "/etc")
		}, setup.CodeMount, "too many levels of symbolic links"},
		{"a ref that isn't there", "composefs.ref=os", refPolicy, nil, setup.CodeNotFound, "there is no composefs/images/refs/os on the root partition"},
		{"a ref that is a file", "composefs.ref=os", refPolicy, func(t *testing.T, d disk) {
			writeTestFile(t, d.path("composefs/images/refs/os"), d.image.Hex())
		}, setup.CodeNotFound, "want a symbolic link, found something else"},
		{"a ref to an image that isn't there", "composefs.ref=os", refPolicy, func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/os", "../"+hexA)
		}, setup.CodeNotFound, "points to " + hexA + ", but there is no composefs/images/" + hexA},
		{"a ref to itself", "composefs.ref=os", refPolicy, func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/os", "os")
		}, setup.CodeNotFound, `want a link to ../HEX of an image, found "os"`},
		{"a ref in a directory that is a link", "composefs.ref=os/stable", refPolicy, func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/other/stable", "../../"+d.image.Hex())
			d.link(t, "composefs/images/refs/os", "other")
		}, setup.CodeNotFound, "too many levels of symbolic links"},
		{"a ref in a directory, one step too short", "composefs.ref=os/stable", refPolicy, func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/os/stable", "../"+d.image.Hex())
		}, setup.CodeNotFound, "want a link to ../../HEX"},
		{"a ref to an image out of the repository", "composefs.ref=os", refPolicy, func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/os", "../"+hexA)
			d.link(t, "composefs/images/"+hexA, "/etc/passwd")
		}, setup.CodeNotFound, "cross-device"},
		{"an image that is a device", "", "", func(t *testing.T, d disk) {
			d.link(t, "composefs/images/"+d.image.Hex(), "../null")
			if err := unix.Mknod(d.path("composefs/null"), unix.S_IFCHR|0o666, 1<<8|3); err != nil {
				t.Fatal(err)
			}
		}, setup.CodeNotFound, "want a regular file"},
		{"an image that memory can't hold", "", "[verify]\nfs-verity = \"userspace\"", func(t *testing.T, d disk) {
			if err := os.Truncate(d.path("composefs/objects", d.image.ObjectPath()), 1<<30+1); err != nil {
				t.Fatal(err)
			}
		}, setup.CodeMount, "too large to hold in memory"},
		{"a TPM that is required and isn't there", "", "[measure]\ntpm = \"require\"", nil, setup.CodeKernel, "the policy requires a TPM 2.0: open the TPM: neither /dev/tpmrm0 nor /dev/tpm0 is there"},
		{"a ref that names a path", "composefs.ref=os", "[verify]\nsignature = \"require\"\nfs-verity = \"off\"", func(t *testing.T, d disk) {
			d.link(t, "composefs/images/refs/os", "../../../"+d.image.Hex())
		}, setup.CodeNotFound, "want a link to ../HEX"},
		{"nothing to boot", "quiet", "", nil, setup.CodeNoArgument, "names no image"},
		{"none of several", "composefs.digest=v1-sha256-12:" + hexA + " composefs=" + hexB, "", nil, setup.CodeNotFound, "none of the 2 that the command line names"},
		{"no seal", "", "[verify]\nsignature = \"require\"\nfs-verity = \"off\"", nil, setup.CodeSignature, "no seal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			if c.spoil != nil {
				c.spoil(t, d)
			}
			before := mounts(t)
			var keys []sign.Key
			if strings.Contains(c.policy, "signature") {
				keys = append(keys, newKey(t).Public("test"))
			}
			err := d.boot(t, strings.ReplaceAll(c.cmdline, "IMAGE", d.image.Hex()), c.policy, keys...)
			if setup.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("status %d, %v; want %d and %q", setup.CodeOf(err), err, c.code, c.want)
			}
			if after := mounts(t); after != before {
				t.Errorf("mounts before\n%safter\n%s", before, after)
			}
		})
	}
}

const refPolicy = "[verify]\nsignature = \"require\"\nfs-verity = \"off\""

func newKey(t *testing.T) sign.PrivateKey {
	t.Helper()
	key, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// seal writes the seal and its signature beside the image.
func (d disk) seal(t *testing.T, key sign.PrivateKey, sequence uint64) {
	t.Helper()
	seal := newSeal(t, sign.Statement{Digest: d.image, Sequence: sequence})
	signature, err := sign.Sign(seal, key)
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, d.path("composefs/seals", sign.TextFile(d.image).Name()), string(seal.Text()))
	writeTestFile(t, d.path("composefs/seals", sign.SignatureFile(d.image).Name()), string(signature.Text()))
}

func TestASealedImageBootsByItsRef(t *testing.T) {
	d, key := newDisk(t), newKey(t)
	d.seal(t, key, 7)
	d.link(t, "composefs/images/refs/os/stable", "../../"+d.image.Hex())
	policy := "[verify]\nfs-verity = \"userspace\"\nminimum-sequence = 7\n"
	if err := d.boot(t, "composefs.ref=os/stable", policy, key.Public("release")); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(recordPath)
	want := `"seal":{"status":"valid","key":"` + key.ID().String() + `","key-name":"release","sequence":7},"fs-verity":"userspace"`
	if err != nil || !strings.Contains(string(record), want) {
		t.Errorf("record %s, %v; want %s", record, err, want)
	}
}

func TestASealIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		spoil        func(*testing.T, disk)
		want         string
	}{
		{"too old", "minimum-sequence = 8", nil, "too old"},
		{"by another key", "", func(t *testing.T, d disk) { d.seal(t, newKey(t), 9) }, "no trusted key"},
		{"without signature", "", func(t *testing.T, d disk) {
			if err := os.Remove(d.path("composefs/seals", sign.SignatureFile(d.image).Name())); err != nil {
				t.Fatal(err)
			}
		}, "no signature"},
		{"bad, where one is optional", "signature = \"optional\"", func(t *testing.T, d disk) {
			writeTestFile(t, d.path("composefs/seals", sign.TextFile(d.image).Name()), "x")
		}, "signature"},
		{"endless", "", func(t *testing.T, d disk) {
			writeTestFile(t, d.path("composefs/seals", sign.TextFile(d.image).Name()), strings.Repeat("x", 1<<20))
		}, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, key := newDisk(t), newKey(t)
			d.seal(t, key, 7)
			if c.spoil != nil {
				c.spoil(t, d)
			}
			err := d.boot(t, "", "[verify]\nfs-verity = \"off\"\n"+c.policy, key.Public("test"))
			if setup.CodeOf(err) != setup.CodeSignature || !strings.Contains(err.Error(), c.want) {
				t.Errorf("status %d, %v; want a refused signature with %q", setup.CodeOf(err), err, c.want)
			}
		})
	}
}

func TestNoSealIsFineWhereOneIsOptional(t *testing.T) {
	d := newDisk(t)
	if err := d.boot(t, "", "[verify]\nsignature = \"optional\"\nfs-verity = \"off\"", newKey(t).Public("k")); err != nil {
		t.Fatal(err)
	}
	if record, _ := os.ReadFile(recordPath); !strings.Contains(string(record), `"seal":{"status":"none"}`) {
		t.Errorf("record %s", record)
	}
}
