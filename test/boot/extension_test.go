package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// forbidding leaves nothing of /etc to who writes to the disk, so that extensions in
// /var would be the way in. It forbids them without a word.
const forbidding = "[etc]\nmount = \"transient\"\n"

const allowing = forbidding + "[verify]\nextensions = \"allow\"\n"

// allowingBoth has the image's own /etc. Over one that is an overlay the kernel stacks
// no extensions: it has one too many then.
const allowingBoth = "[etc]\nmount = \"none\"\n[verify]\nextensions = \"allow\"\n"

// An extension in /var, on the disk or by a link, is where the attacker has put it.
func TestExtensionsBehindALinkAreRefused(t *testing.T) {
	link := func(path string) change {
		return func(t *testing.T, b base, disk string) {
			t.Helper()
			debugfs(t, disk, append(newDirs(t, b, disk, filepath.Dir(path)), "symlink "+varOf(b)+path+" /sysroot/evil")...)
		}
	}
	runRows(t, []row{
		{name: "of extensions", policy: forbidding, status: 8, says: "extensions are forbidden: mount /var/lib/extensions: ", change: link("lib/extensions")},
		{name: "of /var/lib", policy: forbidding, status: 8, says: "extensions are forbidden: mount /var/lib/extensions: ", change: link("lib")},
		{name: "where they are allowed", policy: allowing, change: link("lib/extensions"), says: `"extensions":"allow"`},
	})
}

// systemd merges what is in /var over a verified /usr and /etc, unless the policy
// forbids it; then it stays where it is. The doctor sees the difference.
func TestExtensions(t *testing.T) {
	d := shared.extensible(t)
	for _, test := range []struct {
		name, policy, merged string
		dracut               bool
		findings             []string // beginnings
	}{
		{"allowed", allowingBoth, "evil", false, []string{"extensions: systemd may merge", "mount: /etc (overlay, confext) ", "mount: /usr (overlay, sysext) ", "secure-boot: "}},
		{"forbidden", forbidding, "none", false, []string{"secure-boot: "}},
		{"forbidden, with systemd in the initramfs", forbidding, "none", true, []string{"secure-boot: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := d.machine(t, changedDisk(t, base{disk: d.disk, image: d.image}, putExtensions))
			if test.dracut {
				m.Initrd = overlaid(t, m.Initrd, []entry{{path: policyPath, content: test.policy}})
			} else {
				dir, _ := shared.kernel(t, "trixie")
				m.Kernel, m.Initrd = filepath.Join(dir, "vmlinuz"), shared.initrdWith(t, "trixie", test.policy, []string{need(t).pub})
			}
			proof := proofOf(t, m)
			for _, name := range []string{"sysext", "confext", "refreshed"} {
				if proof[name] != test.merged {
					t.Errorf("%s is %q, want %q", name, proof[name], test.merged)
				}
			}
			if test.merged == "none" && proof["failed-units"] != "0" {
				t.Errorf("%s units have failed", proof["failed-units"])
			}
			_, findings := doctorSays(t, proof["doctor"])
			if !slices.EqualFunc(findings, test.findings, strings.HasPrefix) {
				t.Errorf("the doctor finds %q, want %q", findings, test.findings)
			}
		})
	}
}

// proofOf boots and returns what the guest says of itself; see scripts/rootfs.
func proofOf(t *testing.T, m vm.Machine) map[string]string {
	t.Helper()
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), debianLimit, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(40))
	}
	t.Logf("%.1f s", c.Took.Seconds())
	text, err := os.ReadFile(m.SecondPort)
	if err != nil {
		t.Fatal(err)
	}
	proof := map[string]string{}
	for _, p := range proofLine.FindAllStringSubmatch(string(text), -1) {
		proof[p[1]] = p[2]
	}
	if _, ok := proof["done"]; !ok {
		t.Fatalf("the guest did not come to the end of its proof:\n%s\n%s", text, c.Tail(40))
	}
	return proof
}

// extensionProof is what the guest says instead of the usual.
const extensionProof = `#!/bin/sh
evil() { cat "$1" 2>/dev/null || echo none; }
echo "proof sysext $(evil /usr/share/evil)"
echo "proof confext $(evil /etc/evil)"
echo "proof doctor $(mkimage doctor --json | tr -d '\n')"
echo "proof failed-units $(systemctl --failed --no-legend --plain | wc -l)"
systemd-sysext refresh
echo "proof refreshed $(evil /usr/share/evil)"
echo "proof done"
sync
`

// extensible is a Debian that merges extensions at boot, as other distributions do
// without being asked, and has mkimage.
func (l *lab) extensible(t *testing.T) debian {
	t.Helper()
	d, b := l.debian(t), need(t)
	root := l.once(t, "root-extensible", func(path string) error {
		if _, err := run("cp", "-al", d.root, path); err != nil {
			return err
		}
		script := l.path("extension-proof")
		if err := os.WriteFile(script, []byte(extensionProof), 0o755); err != nil {
			return err
		}
		_, err := run("sh", "-ec", `cd "$1"
			ln -s ../systemd-sysext.service ../systemd-confext.service usr/lib/systemd/system/sysinit.target.wants/
			cp --remove-destination "$2" usr/libexec/composefs-proof
			cp "$3" usr/bin/mkimage`, "sh", path, script, l.path("mkimage"))
		return err
	})
	repo := l.path("extensible-repo")
	digest := l.once(t, "extensible.digest", func(path string) error {
		image, err := l.mkimage("build", "--repo", repo, "--boot", "--seal", b.key, "--sequence", "1", root)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(image), 0o644)
	})
	text, err := os.ReadFile(digest)
	if err != nil {
		t.Fatal(err)
	}
	d.root, d.image = root, string(text)
	d.disk = l.once(t, "extensible.img", func(path string) error { return l.disk(path, repo, d.image) })
	return d
}

// putExtensions puts one for /usr and one for /etc where systemd looks for them, as
// somebody does who has the disk.
func putExtensions(t *testing.T, b base, disk string) {
	t.Helper()
	evil := filepath.Join(t.TempDir(), "evil")
	release := filepath.Join(t.TempDir(), "release")
	for name, text := range map[string]string{evil: "evil\n", release: "ID=_any\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, source := range map[string]string{
		"lib/extensions/evil/usr/share/evil":                                     evil,
		"lib/extensions/evil/usr/lib/extension-release.d/extension-release.evil": release,
		"lib/confexts/evil/etc/evil":                                             evil,
		"lib/confexts/evil/etc/extension-release.d/extension-release.evil":       release,
	} {
		debugfs(t, disk, append(newDirs(t, b, disk, filepath.Dir(path)), "write "+source+" "+varOf(b)+path)...)
	}
}

// varOf is where the state of /var is on the root partition.
func varOf(b base) string { return "/state/deploy/" + b.image + "/var/" }

// newDirs are the commands to make a directory below /var, and those on the way to it.
func newDirs(t *testing.T, b base, disk, dir string) (commands []string) {
	t.Helper()
	at := strings.TrimSuffix(varOf(b), "/")
	for p := range strings.SplitSeq(dir, "/") {
		at += "/" + p
		out, err := run("debugfs", "-R", "stat "+at, fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition)))
		if err != nil {
			t.Fatal(err)
		}
		if p != "." && !strings.Contains(out, "Type: directory") {
			commands = append(commands, "mkdir "+at)
		}
	}
	return commands
}
