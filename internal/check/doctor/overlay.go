package doctor

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// programsOfInitrds are the directories, and a few files, from which an initramfs runs
// programs or reads which ones to run.
var programsOfInitrds = append([]string{
	"init", program, "sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd", "lib/systemd/systemd",
	"etc/systemd/system-generators", "run/systemd/system-generators", "usr/local/lib/systemd/system-generators", "usr/lib/systemd/system-generators", "lib/systemd/system-generators",
	"usr/lib/dracut/hooks", "lib/dracut/hooks", "var/lib/dracut/hooks",
	"etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d",
	"etc/ld.so.preload",
}, unitDirs...)

// Overlay examines the initrd of an addon, which is unpacked over the initrd of some UKI. It
// reports files that replace the programs that verify the root, or the policy and the keys that
// decide what counts as verified.
func Overlay(r *Report, root fs.ReadLinkFS) {
	var others []string
	_ = fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir():
		case isSetupRoot(root, name):
			(&Initrd{Root: root}).checkProgram(r, name)
			others = append(others, name)
		case isMergedUsr(root, name):
			others = append(others, name)
		case slices.ContainsFunc(programsOfInitrds, func(at string) bool { return below(name, at) || e.Type()&fs.ModeSymlink != 0 && below(at, name) }):
			r.Warn("addon-program", "it puts /%s over the initrd of the UKI, where it decides what is started there, and whether the root is verified", name)
		case strings.HasSuffix(name, ".pub"), below(bootcfg.ConfigPath[1:], name), below(bootcfg.KeysPath[1:], name), below(name, path.Dir(bootcfg.ConfigPath[1:])):
			r.Warn("addon-trust", "it puts /%s over the initrd of the UKI, where it decides which images are trusted", name)
		default:
			others = append(others, name)
		}
		return nil
	})
	if len(others) > 0 {
		r.Warn("addon-files", "it puts other files over the initrd of the UKI, %d in all, the first is /%s", len(others), others[0])
	}
}

// isMergedUsr reports whether a file is one of the links to /usr that most initrds have: /lib
// to /usr/lib, and so on.
func isMergedUsr(root fs.ReadLinkFS, name string) bool {
	to, err := root.ReadLink(name)
	return err == nil && slices.Contains([]string{"bin", "lib", "lib64", "sbin"}, name) && inside(to) == "usr/"+name
}

// isSetupRoot reports whether a file is composefs-setup-root, in a place where it is started
// from.
func isSetupRoot(root fs.FS, name string) bool {
	if name != "init" && name != program {
		return false
	}
	text, err := fs.ReadFile(root, name)
	return err == nil && bytes.Contains(text, marker)
}

// AddonArguments is Arguments for an addon, whose UKI isn't known: it assumes that the initrd
// has everything that obeys such arguments, and the default policy.
func AddonArguments(r *Report, line bootcfg.Cmdline) {
	(&Initrd{}).Arguments(r, line, StartUnit, Trust{Config: bootcfg.DefaultConfig()})
}
