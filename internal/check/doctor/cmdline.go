package doctor

import (
	"io/fs"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
)

// Cmdline checks a kernel command line against what would read it: composefs-setup-root
// with its policy, and what finds the root device. arch is a GOARCH.
func (i *Initrd) Cmdline(r *Report, text string, start Start, trust Trust, arch string) (bootcfg.Cmdline, Root) {
	r.Fact("cmdline", "%s", text)
	line, err := bootcfg.ParseCmdline(text)
	switch {
	case err != nil:
		r.Stop("cmdline/malformed", "%v", err)
		return line, Root{}
	case !line.Asked():
		r.Stop("cmdline/no-image", "the command line names no image")
	case trust.Sound:
		if err := trust.Config.Verify.Permits(line, trust.Keys); err != nil {
			r.Stop("permitted", "%v", err)
		}
	}
	checkTwice(r, line)
	i.Arguments(r, line, start, trust)
	root, _ := line.Lookup("root")
	fstype, _ := line.Lookup("rootfstype")
	i.checkRoot(r, root, start, arch)
	if _, ro := line.Lookup("ro"); !ro {
		if _, rw := line.Lookup("rw"); !rw {
			r.Warn("ro", "the command line says neither ro nor rw: systemd then assumes that the root is to be writable, and reports a failure because it isn't")
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
				r.Warn("cmdline-twice", "the command line names the image %s twice", i.Digest.Hex())
				return
			case i.Format == j.Format && i.Digest.Algorithm() == j.Digest.Algorithm():
				r.Warn("cmdline-twice/other", "the command line names two images, %s and %s: the second is booted where the first isn't there", j.Digest.Hex(), i.Digest.Hex())
				return
			}
		}
	}
}

// checkRoot checks that root= means something to what looks for it.
func (i *Initrd) checkRoot(r *Report, root string, start Start, arch string) {
	switch start {
	case StartInit:
		if _, err := blockdev.ParseSpec(root, arch); err != nil {
			r.Stop("root/malformed", "%v", err)
		} else if root == "" && !i.OnDisk {
			r.Warn("root/by-type", "the command line has no root=: it boots only from a disk with exactly one root partition of the type for %s", arch)
		}
	case StartUnit:
		if root != "" && root != "gpt-auto" {
			return
		}
		if _, err := fs.Stat(i.Root, autoRoot); err != nil {
			r.Stop("root/no-generator", "the command line has no root=, and the initrd lacks systemd-gpt-auto-generator, which would look for the root partition by its type")
		}
	case StartHook:
		if root == "" {
			r.Stop("root/hook", "the command line has no root=, and dracut without systemd doesn't look for it")
		}
	}
}
