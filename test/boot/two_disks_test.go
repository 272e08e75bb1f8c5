package boot

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// Two disks of one kind, an installer's and the machine's for instance, whose command
// lines both say root=PARTLABEL=root: whichever the firmware boots, its own root is
// taken. Two copies of one disk have nothing that tells them apart.
func TestTwoDisks(t *testing.T) {
	b := need(t)
	first := shared.ukiDisk(t, b.image, "initrd", shared.initrd(t, "trixie", ""))
	second := shared.ukiDisk(t, b.other, "initrd", shared.initrd(t, "trixie", ""))
	for _, c := range []struct {
		name   string
		disks  [2]string
		second bool // is what the firmware boots
		boots  string
		root   string
		says   string
	}{
		{"booted from the first", [2]string{first, second}, false, b.image, "/dev/vda2", "PARTLABEL=root fits vda2, vdb2: taking vda2, which is on the disk of the boot loader"},
		{"booted from the second", [2]string{first, second}, true, b.other, "/dev/vdb2", "taking vdb2, which is on the disk of the boot loader"},
		{"a disk and its copy", [2]string{first, first}, false, "", "", "more than one device fits PARTLABEL=root: vda2, vdb2, and the disk that the boot loader came from doesn't decide"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := vm.Machine{Name: t.Name(), Firmware: firmware(t), Disk: c.disks[0], MoreDisks: c.disks[1:], BootLast: c.second}
			console, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, console.Tail(30))
			}
			if c.boots == "" {
				checkRefused(t, console, 8, c.says)
				return
			}
			checkRoot(t, console, c.boots, c.root, c.says)
		})
	}
}

// udev's link leads to either of the two; what it has led to is replaced.
func TestTwoDisksWithDracut(t *testing.T) {
	b := need(t)
	kernel, initrd := shared.dracut(t, dracutRow{only: systemd})
	first := shared.ukiDiskWith(t, b.image, "dracut", kernel, initrd)
	second := shared.ukiDiskWith(t, b.other, "dracut", kernel, initrd)
	for _, c := range []struct {
		name        string
		second      bool
		boots, root string
	}{
		{"booted from the first", false, b.image, "/dev/vda2"},
		{"booted from the second", true, b.other, "/dev/vdb2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := vm.Machine{Name: t.Name(), Firmware: firmware(t), Memory: 768, Disk: first, MoreDisks: []string{second}, BootLast: c.second}
			console, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, ended)
			if err != nil {
				t.Fatalf("%v\n%s", err, console.Tail(30))
			}
			checkRoot(t, console, c.boots, c.root, "on the disk of the boot loader")
		})
	}
}

// checkRoot checks which image was booted, from which device, and what was said of it.
func checkRoot(t *testing.T, c vm.Console, image, device, says string) {
	t.Helper()
	facts := c.Guest()
	if facts["done"] != "yes" || !strings.HasPrefix(facts["mount /"], "overlay composefs:"+image) || !strings.HasPrefix(facts["mount /sysroot"], "ext4 "+device+" ") {
		t.Errorf("/ is %q, /sysroot %q; want %s from %s\n%s", facts["mount /"], facts["mount /sysroot"], image, device, c.Tail(30))
	}
	if !strings.Contains(strings.Join(c.Composefs(), "\n"), says) {
		t.Errorf("said %q, want %q", c.Composefs(), says)
	}
}

func (l *lab) ukiDisk(t *testing.T, image, name, initrd string) string {
	t.Helper()
	dir, _ := l.kernel(t, "trixie")
	return l.ukiDiskWith(t, image, name, filepath.Join(dir, "vmlinuz"), initrd)
}

// ukiDiskWith makes a disk with one image and a unified kernel image for it.
func (l *lab) ukiDiskWith(t *testing.T, image, name, kernel, initrd string) string {
	t.Helper()
	b := need(t)
	return l.once(t, fmt.Sprintf("two-%s-%.8s.img", name, image), func(path string) error {
		uki := path + ".efi"
		if _, err := l.mkimage("uki", "build", "--stub", stub, "--linux", kernel, "--initrd", initrd, "--os-release", l.path("root-1/usr/lib/os-release"),
			"--cmdline", machineArguments+" root=PARTLABEL=root ro", "--image", image, "--output", uki); err != nil {
			return err
		}
		_, err := l.mkimage("disk", "--repo", b.repo, "--image", image, "--uki", uki, "--output", path)
		return err
	})
}
