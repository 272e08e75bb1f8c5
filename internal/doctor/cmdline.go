package doctor

import (
	"io/fs"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/blockdev"
)

// Cmdline checks a kernel command line against what would read it: composefs-setup-root
// with its policy, and what finds the root device. arch is a GOARCH.
func (i *Initrd) Cmdline(r *Report, text string, start Start, trust Trust, arch string) (bootcfg.Cmdline, Root) {
	r.Fact("cmdline", "%s", text)
	line, err := bootcfg.ParseCmdline(text)
	switch {
	case err != nil:
		r.Stop("cmdline", "correct the command line", "%v", err)
		return line, Root{}
	case !line.Asked():
		r.Stop("cmdline", "add composefs.digest=v1-sha256-12:HEX, which `mkimage build` and `mkimage measure` print", "the command line names no image")
	case trust.Sound:
		if err := trust.Config.Verify.Permits(line, trust.Keys); err != nil {
			r.Stop("permitted", "change the command line, or the policy in the initrd", "%v", err)
		}
	}
	checkTwice(r, line)
	root, _ := line.Lookup("root")
	fstype, _ := line.Lookup("rootfstype")
	i.checkRoot(r, root, start, arch)
	if _, ro := line.Lookup("ro"); !ro {
		if _, rw := line.Lookup("rw"); !rw {
			r.Warn("ro", "add ro", "the command line says neither ro nor rw: systemd takes it that the root shall be writable, and counts it as a failure that it isn't")
		}
	}
	return line, Root{root, fstype}
}

// checkTwice looks for what a slip leaves: the same image twice, or two where one was
// meant to take the place of the other. Two formats of one tree are no slip.
func checkTwice(r *Report, line bootcfg.Cmdline) {
	for n, i := range line.Images {
		for _, j := range line.Images[:n] {
			switch {
			case i.Digest == j.Digest:
				r.Warn("cmdline-twice", "remove one of the two", "the command line names the image %s twice", i.Digest.Hex())
				return
			case i.Version == j.Version && i.Digest.Algorithm() == j.Digest.Algorithm():
				r.Warn("cmdline-twice", "remove the one that isn't meant", "the command line names two images, %s and %s: the second is booted where the first isn't there", j.Digest.Hex(), i.Digest.Hex())
				return
			}
		}
	}
}

// checkRoot checks that root= means something to what looks for it.
func (i *Initrd) checkRoot(r *Report, root string, start Start, arch string) {
	const remedy = "name the root partition, as in root=PARTLABEL=root"
	switch start {
	case StartInit:
		if _, err := blockdev.ParseSpec(root, arch); err != nil {
			r.Stop("root", remedy, "%v", err)
		} else if root == "" && !i.OnDisk {
			r.Warn("root", remedy, "the command line has no root=: it is booted only from a disk whose root partition has the type for %s, and where there are two such, not at all", arch)
		}
	case StartUnit:
		if root != "" && root != "gpt-auto" {
			return
		}
		if _, err := fs.Stat(i.Root, autoRoot); err != nil {
			r.Stop("root", remedy, "the command line has no root=, and the initrd lacks systemd-gpt-auto-generator, which would look for the root partition by its type")
		}
	case StartHook:
		if root == "" {
			r.Stop("root", remedy, "the command line has no root=, and dracut without systemd doesn't look for it")
		}
	}
}
