package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The doctor finds nothing in what boots, dracut's initramfs, and in each twin of it
// the one thing that was taken away.
func TestDoctorReadsDracut(t *testing.T) {
	d, b := shared.debian(t), need(t)
	good, err := os.ReadFile(d.initrd)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, says string }{
		{"good", "", "nothing found that would stop the boot"},
		{"no program", "usr/lib/composefs/composefs-setup-root", "stops the boot: setup-root: "},
		{"no unit", "usr/lib/systemd/system/composefs-setup-root.service", "stops the boot: unit: "},
		{"no init", "init", "stops the boot: init: "},
		{"no key", "usr/lib/composefs/keys.d/" + filepath.Base(b.pub), "stops the boot: keys: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			initrd := filepath.Join(t.TempDir(), "initrd.img")
			if err := os.WriteFile(initrd, append(append([]byte(nil), good...), hiding(t, len(good), test.path)...), 0o644); err != nil {
				t.Fatal(err)
			}
			doctor := exec.Command(shared.path("mkimage"), "doctor", initrd, "--repo", shared.path("debian-repo"), "--cmdline", "root=PARTLABEL=root ro "+pin(d.image))
			out, err := doctor.CombinedOutput()
			if (err == nil) != (test.path == "") || !strings.Contains(string(out), test.says) {
				t.Errorf("want %q, found\n%s", test.says, out)
			}
		})
	}
}

// hiding is an archive to follow one of the size: it puts a link to nowhere in the
// place of a file.
func hiding(t *testing.T, size int, path string) []byte {
	t.Helper()
	if path == "" {
		return nil
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, path)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cpio", "-o", "-H", "newc", "--quiet")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(path+"\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return append(make([]byte, -size&3), out...)
}
