package imagemount_test

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/imagemount"
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
		want       imagemount.Options
	}{
		{"one directory", "basedir=/o", imagemount.Options{Basedirs: base}},
		{"several directories", "basedir=/o:/p", imagemount.Options{Basedirs: []string{"/o", "/p"}}},
		{"the last basedir counts", "basedir=/x,basedir=/o", imagemount.Options{Basedirs: base}},
		{"escaped separators", `basedir=/a\,b:/c\:d:/e\\f`, imagemount.Options{Basedirs: []string{"/a,b", "/c:d", `/e\f`}}},
		{"a backslash before any other character", `basedir=/\o\`, imagemount.Options{Basedirs: base}},
		{"a value with an equals sign", "basedir=/o=p", imagemount.Options{Basedirs: []string{"/o=p"}}},
		{"a colon in an upper directory", `basedir=/o,upperdir=/u:v,workdir=/w\,x`, imagemount.Options{Basedirs: base, Upper: "/u:v", Work: "/w,x"}},
		{"a digest in capitals", "basedir=/o,digest=" + strings.ToUpper(hex), imagemount.Options{Basedirs: base, Digest: digest}},
		{"the last of ro and rw", "ro,rw,ro,basedir=/o", imagemount.Options{Basedirs: base, ReadOnly: true}},
		{"tryverity doesn't weaken verity", "verity,tryverity,basedir=/o", imagemount.Options{Basedirs: base, Verity: imagemount.Require}},
		{"noverity does", "verity,noverity,basedir=/o", imagemount.Options{Basedirs: base, Verity: imagemount.Off}},
		{"verity after noverity", "noverity,verity,basedir=/o", imagemount.Options{Basedirs: base, Verity: imagemount.Require}},
		{"a flag's value means nothing", "ro=no,basedir=/o", imagemount.Options{Basedirs: base, ReadOnly: true}},
		{"attributes", "nosuid,noatime,basedir=/o", imagemount.Options{Basedirs: base, Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR__ATIME}},
		{"attributes taken back", "nosuid,suid,noatime,relatime,basedir=/o", imagemount.Options{Basedirs: base, Clear: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR__ATIME}},
		{"what fstab says to others", "defaults,user,nofail,_netdev,x-systemd.automount,basedir=/o", imagemount.Options{Basedirs: base}},
		{"idmap and signed", "idmap=/proc/1/ns/user,signed,basedir=/o", imagemount.Options{Basedirs: base, UserNS: "/proc/1/ns/user", Signed: true}},
	} {
		var m imagemount.Options
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
		var m imagemount.Options
		if err := m.Parse(text, false); err != nil || (m.Level() == imagemount.Require) != want {
			t.Errorf("%s: verity is required: %t, %v, want %t", text, m.Level() == imagemount.Require, err, want)
		}
	}
}

// Taking an option list apart loses nothing: put together again, it is the same.
func FuzzMountOptions(f *testing.F) {
	for _, text := range []string{"", ",", `a\,b,c`, `basedir=/a\:b:c,digest=`, `\`, "ro,verity,upperdir=x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if again := strings.Join(imagemount.SplitUnescaped(text, ','), ","); again != text {
			t.Errorf("%q became %q", text, again)
		}
		if plain := imagemount.Unescape(text); len(plain) > len(text) || !strings.Contains(text, `\`) && plain != text {
			t.Errorf("%q unescaped is %q", text, plain)
		}
		var m imagemount.Options
		if err := m.Parse(text, false); err == nil {
			for _, dir := range m.Basedirs {
				if strings.Count(dir, "") > len(text)+1 {
					t.Errorf("%q has the directory %q", text, dir)
				}
			}
		}
	})
}
