package imagemount

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/verity"
)

func TestMountOptions(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	digest, err := verity.ParseHex(verity.SHA256, hex)
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"/o"}
	for _, c := range []struct {
		name, text string
		want       Options
	}{
		{"one directory", "basedir=/o", Options{Basedirs: base}},
		{"several directories", "basedir=/o:/p", Options{Basedirs: []string{"/o", "/p"}}},
		{"the last basedir counts", "basedir=/x,basedir=/o", Options{Basedirs: base}},
		{"escaped separators", `basedir=/a\,b:/c\:d:/e\\f`, Options{Basedirs: []string{"/a,b", "/c:d", `/e\f`}}},
		{"a backslash before any other character", `basedir=/\o\`, Options{Basedirs: base}},
		{"a value with an equals sign", "basedir=/o=p", Options{Basedirs: []string{"/o=p"}}},
		{"a colon in an upper directory", `basedir=/o,upperdir=/u:v,workdir=/w\,x`, Options{Basedirs: base, Upper: "/u:v", Work: "/w,x"}},
		{"a digest in capitals", "basedir=/o,digest=" + strings.ToUpper(hex), Options{Basedirs: base, Digest: digest}},
		{"the last of ro and rw", "ro,rw,ro,basedir=/o", Options{Basedirs: base, ReadOnly: true}},
		{"tryverity doesn't weaken verity", "verity,tryverity,basedir=/o", Options{Basedirs: base, Verity: Require}},
		{"noverity does", "verity,noverity,basedir=/o", Options{Basedirs: base, Verity: Off}},
		{"verity after noverity", "noverity,verity,basedir=/o", Options{Basedirs: base, Verity: Require}},
		{"a flag's value means nothing", "ro=no,basedir=/o", Options{Basedirs: base, ReadOnly: true}},
		{"attributes", "nosuid,noatime,basedir=/o", Options{Basedirs: base, Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR__ATIME}},
		{"attributes taken back", "nosuid,suid,noatime,relatime,basedir=/o", Options{Basedirs: base, Clear: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR__ATIME}},
		{"what fstab says to others", "defaults,user,nofail,_netdev,x-systemd.automount,basedir=/o", Options{Basedirs: base}},
		{"idmap and signed", "idmap=/proc/1/ns/user,signed,basedir=/o", Options{Basedirs: base, UserNS: "/proc/1/ns/user", Signed: true}},
	} {
		var m Options
		if err := m.Parse(c.text, false); err != nil || !reflect.DeepEqual(m, c.want) {
			t.Errorf("%s: %s gives %+v, %v, want %+v", c.name, c.text, m, err, c.want)
		}
	}
}

func TestVerityIsImpliedByKnowingTheImage(t *testing.T) {
	for text, want := range map[string]bool{
		"ro": false, "verity": true, "tryverity": false, "signed": true, "signed,noverity": false,
		"digest=" + strings.Repeat("0a", 32): true, "tryverity,digest=" + strings.Repeat("0a", 32): true,
		"noverity,digest=" + strings.Repeat("0a", 64): false,
	} {
		var m Options
		if err := m.Parse(text, false); err != nil || (m.level() == Require) != want {
			t.Errorf("%s: verity is required: %t, %v, want %t", text, m.level() == Require, err, want)
		}
	}
}

// Taking an option list apart loses nothing: put together again, it is the same.
func FuzzMountOptions(f *testing.F) {
	for _, text := range []string{"", ",", `a\,b,c`, `basedir=/a\:b:c,digest=`, `\`, "ro,verity,upperdir=x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if again := strings.Join(splitUnescaped(text, ','), ","); again != text {
			t.Errorf("%q became %q", text, again)
		}
		if plain := unescape(text); len(plain) > len(text) || !strings.Contains(text, `\`) && plain != text {
			t.Errorf("%q unescaped is %q", text, plain)
		}
		var m Options
		if err := m.Parse(text, false); err == nil {
			for _, dir := range m.Basedirs {
				if strings.Count(dir, "") > len(text)+1 {
					t.Errorf("%q has the directory %q", text, dir)
				}
			}
		}
	})
}

// What options or image ask for and the kernel lacks is refused, never left out.
func TestAKernelThatLacksSomethingIsNamed(t *testing.T) {
	plain := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	withACL := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	withACL.SetXattr("system.posix_acl_access", []byte("x"))
	for _, c := range []struct {
		lacks  kernel.Feature
		root   *tree.Node
		Verity VerityLevel
		says   []string
	}{
		{kernel.OverlayVerity, plain, Require, []string{"Linux 6.6"}},
		{kernel.EROFSACL, withACL, Off, []string{"access control lists", "CONFIG_EROFS_FS_POSIX_ACL"}},
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
		m := Options{Basedirs: []string{filepath.Dir(name)}, Verity: c.Verity}
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
