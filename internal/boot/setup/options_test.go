package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/sign"
)

// A link may lead to the root partition, or nowhere until that is mounted. Above the
// directory of policy and keys they are the initramfs's own.
func TestPolicyAndKeysAreReadThroughNoLink(t *testing.T) {
	key, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	const plain = "found a symbolic link"
	for _, c := range []struct {
		name, at, to string // the link, and where it leads
		want         string // "" if it is read
	}{
		{"plain files", "", "", ""},
		{"the directory above is a link", "lib", "usr/lib", ""},
		{"the policy is a link", "usr/lib/composefs/conf.toml", "evil/conf.toml", plain},
		{"the policy is a link that leads nowhere", "usr/lib/composefs/conf.toml", "sysroot/conf.toml", plain},
		{"the directory of keys is a link", "usr/lib/composefs/keys.d", "evil/keys.d", plain},
		{"the directory of keys is a link that leads nowhere", "usr/lib/composefs/keys.d", "sysroot/keys.d", plain},
		{"a key is a link", "usr/lib/composefs/keys.d/b.pub", "evil/keys.d/ours.pub", plain},
		{"a key is a link that leads nowhere", "usr/lib/composefs/keys.d/b.pub", "sysroot/b.pub", plain},
		{"the directory of both is a link", "usr/lib/composefs", "evil", plain},
		{"the directory of both is a link that leads nowhere", "usr/lib/composefs", "sysroot/composefs", plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, in := range []string{"usr/lib/composefs", "evil"} {
				writeTestFile(t, filepath.Join(dir, in, "conf.toml"), "[failure]\naction = \"poweroff\"\n")
				writeTestFile(t, filepath.Join(dir, in, "keys.d/ours.pub"), string(key.Public("").Text()))
			}
			lib := "usr/lib"
			if c.at != "" {
				at := filepath.Join(dir, c.at)
				if err := os.RemoveAll(at); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(dir, c.to), at); err != nil {
					t.Fatal(err)
				}
				if c.at == "lib" {
					lib = c.at
				}
			}
			o, err := setup.Read(argA, setup.Paths{Config: filepath.Join(dir, lib, "composefs/conf.toml"), Keys: filepath.Join(dir, lib, "composefs/keys.d")})
			if c.want != "" {
				if setup.CodeOf(err) != setup.CodeConfig || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want a configuration error that says %q", err, c.want)
				}
			} else if err != nil || len(o.Keys) != 1 {
				t.Errorf("%d keys, %v; want one", len(o.Keys), err)
			}
		})
	}
}
