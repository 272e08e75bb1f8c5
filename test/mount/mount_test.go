package mount

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/test/vm"
)

// limit is many times what a machine takes, for one that is busy.
const limit = 10 * time.Minute

// A kernel is one that images are mounted on.
type kernel struct {
	suite   string // of Debian
	release string // how it begins
	verity  bool   // overlayfs can check files, and has data-only layers

	mountsFrom string // what EROFS is mounted from
}

var kernels = []kernel{
	{suite: "bookworm", release: "6.1.", mountsFrom: "loop devices"},
	{suite: "trixie", release: "6.12.", verity: true, mountsFrom: "files"}, // layers by name only
	{suite: "sid", verity: true, mountsFrom: "files"},
}

func TestImagesMountOnEveryKernel(t *testing.T) {
	l := newLab(t)
	for _, k := range kernels {
		t.Run(k.suite, func(t *testing.T) {
			dir := run(t, "../../scripts/kernel", k.suite)
			m := vm.Machine{
				Name: t.Name(), Kernel: filepath.Join(dir, "vmlinuz"), Initrd: l.initrd(t, dir),
				CommandLine: "console=ttyS0 loglevel=4 panic=-1 no_timer_check", Disk: l.disk,
			}
			c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, c.Tail(30))
			}
			facts := c.Guest()
			t.Logf("%s, %.1f s", facts["kernel"], c.Took.Seconds())
			if facts["done"] != "yes" || !strings.HasPrefix(facts["kernel"], k.release) {
				t.Fatalf("the machine did not come to its end:\n%s", c.Tail(30))
			}
			check{t, l, facts}.all(k)
			check{t, l, facts}.vectors(k)
		})
	}
}

// A check holds what a machine said against what it should have.
type check struct {
	*testing.T
	l     *lab
	facts map[string]string
}

const needsVerity = "lacks overlayfs verity=require, which came with Linux 6.6 hint: boot a newer kernel; or mount it with --verity off"

func (c check) all(k kernel) {
	for _, name := range []string{"plain", "noverity", "signed-noverity", "writable", "mkimage-off"} {
		c.mounted(name, c.l.largeSum)
	}
	// What asks for every file to be checked gets that, or nothing.
	for name, refused := range map[string]string{
		"digest": "1 mount.composefs: Failed to mount composefs ", "verity": "1 mount.composefs: Failed to mount composefs ",
		"signed": "1 mount.composefs: Failed to mount composefs ", "mkimage": "7 mkimage: mount " + c.l.image + ": ",
	} {
		if k.verity {
			c.mounted(name, c.l.largeSum)
		} else {
			c.Log(c.facts[name])
			c.refused(name, refused, "kernel "+c.facts["kernel"]+" "+needsVerity)
		}
	}
	// What is to be tried is done where it can be; elsewhere it is said that it isn't.
	if k.verity {
		c.mounted("tryverity", c.l.largeSum)
		c.mounted("try", "cat: can't open '/mnt/large': Input/output error")
	} else {
		c.mountedWithout("tryverity", "kernel "+c.facts["kernel"]+" lacks overlayfs verity=require")
		c.mountedWithout("try", "kernel "+c.facts["kernel"]+" lacks overlayfs verity=require")
	}
	c.mountedWithout("try-memory", "it is on tmpfs, which doesn't support it")
	c.refused("memory", "7 ", "it is on tmpfs, which doesn't support it")
	c.mounted("idmapped", c.l.largeSum)
	c.is("plain owner", "0:0")
	c.is("idmapped owner", "70000:80000")
	if k.verity {
		c.mounted("native", c.l.largeSum)
	} else {
		c.refused("native", "1 mount.composefs: Failed to mount composefs ", "kernel "+c.facts["kernel"]+" lacks overlayfs data-only layers, which came with Linux 6.5 hint: boot a newer kernel")
	}
	c.refused("other-image", "5 ", "fs-verity digest mismatch: want fsverity-sha256-12:"+c.l.image+", found "+c.l.other)
	c.refused("copied-image", "5 ", "has no fs-verity: it isn't enabled for this file hint: run `fsverity enable ")
	c.mounted("copied-image-off", c.l.largeSum)
	if k.verity {
		c.mounted("copied-image-again", c.l.largeSum)
	} else {
		c.refused("copied-image-again", "7 ", needsVerity)
	}
	c.refused("plain-ext4", "7 ", "it is on ext4, which was made without the feature hint: turn it on (ext4: `tune2fs -O verity /dev/loop")
	c.mounted("plain-ext4-off", c.l.largeSum)
	c.refused("linked-objects", "1 ", "objects")
	c.refused("other", "1 ", "Image has wrong fs-verity: fs-verity digest mismatch: want fsverity-sha256-12:"+c.l.other+", found "+c.l.image)
	c.refused("copy", "1 ", "Failed to mount composefs /disk/copy: Image has no fs-verity: ")
	c.refused("unsigned", "1 ", "Image was not signed: signature refused: image has no seal")
	c.is("writable wrote", "yes")
	c.is("upper", "new")
	c.is("plain source", "composefs")
	c.is("mkimage-off source", "composefs:"+c.l.image)
	// The kernel takes no file for another one.
	c.mounted("swapped-noverity", c.l.replacementSum)
	if k.verity {
		c.mounted("swapped", "cat: can't open '/mnt/large': Input/output error")
		c.mounted("unprotected", "cat: can't open '/mnt/large': Input/output error")
	}
	c.is("left", "empty large upper work 0 0")
}

func (c check) is(fact, want string) {
	c.Helper()
	if c.facts[fact] != want {
		c.Errorf("%s: %q, want %q", fact, c.facts[fact], want)
	}
}

// mounted checks a mount that worked; large is what reading the large file gave.
func (c check) mounted(name, large string) {
	c.Helper()
	c.is(name, "0 ")
	c.looked(name, large)
}

// mountedWithout checks a mount that worked though files couldn't be checked as they
// should have been, and that the reason was said.
func (c check) mountedWithout(name, why string) {
	c.Helper()
	if said := c.facts[name]; !strings.HasPrefix(said, "0 remark: mounted without fs-verity") || !strings.Contains(said, why) {
		c.Errorf("%s: %q, want a remark that says %q", name, said, why)
	}
	c.looked(name, c.l.largeSum)
}

// looked checks what was seen of a mount.
func (c check) looked(name, large string) {
	c.Helper()
	c.is(name+" names", "inline large ")
	c.is(name+" inline", "version 1")
	c.is(name+" large", large)
	c.is(name+" umount", "0 ")
	if name != "writable" {
		c.is(name+" wrote", "")
	}
}

// refused checks that nothing was mounted, and why.
func (c check) refused(name, begins, says string) {
	c.Helper()
	if said := c.facts[name]; !strings.HasPrefix(said, begins) || !strings.Contains(said, says) {
		c.Errorf("%s: %q, want it to begin with %q and to say %q", name, said, begins, says)
	}
	c.is(name+" source", "")
}
