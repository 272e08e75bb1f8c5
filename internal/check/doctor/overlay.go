package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// dataOfInitrds are the directories whose files no program of an initramfs runs or obeys,
// but for the kernel, which checks the signatures of modules where Secure
// Boot is on.
var dataOfInitrds = []string{"usr/lib/firmware", "lib/firmware", "usr/lib/modules", "lib/modules"}

// namedMax is how many files a finding names.
const namedMax = 10

// Overlay examines the initrd of an addon, which is unpacked over the initrd of some UKI
// (initrd.OpenOver). It reports files that replace the policy and the keys, which decide what
// counts as verified, and all others but data: an initramfs runs and obeys so many files that
// no list has them all.
func Overlay(r *Report, root fs.ReadLinkFS) {
	var programs, data []string
	_ = fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		isData := slices.ContainsFunc(dataOfInitrds, func(at string) bool { return name != at && below(name, at) })
		switch {
		case err != nil || e.IsDir():
		case isMergedUsr(root, name), isData:
			data = append(data, name)
		case e.Type().IsRegular() && isTrust(name):
			r.Warn("addon-trust", "it puts /%s over the initrd of the UKI, where it decides which images are trusted", name)
		default:
			programs = append(programs, name)
		}
		return nil
	})
	if len(programs) > 0 {
		r.Warn("addon-program", "it puts files over the initrd of the UKI that may decide there what is started, and whether the root is verified: %s", listed(programs))
	}
	if len(data) > 0 {
		r.Warn("addon-files", "it puts other files over the initrd of the UKI: %s", listed(data))
	}
}

// isTrust reports whether a file is the policy, or one of the keys where they are if the
// policy names no other directory.
func isTrust(name string) bool {
	return name == bootcfg.ConfigPath[1:] || strings.HasSuffix(name, ".pub") && path.Dir(name) == bootcfg.KeysPath[1:]
}

// listed names the first files of a list.
func listed(names []string) string {
	var all []string
	for _, name := range names[:min(len(names), namedMax)] {
		all = append(all, "/"+name)
	}
	if more := len(names) - namedMax; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}

// isMergedUsr reports whether a file is one of the links to /usr that most initrds have: /lib
// to /usr/lib, and so on.
func isMergedUsr(root fs.ReadLinkFS, name string) bool {
	to, err := root.ReadLink(name)
	return err == nil && slices.Contains([]string{"bin", "lib", "lib64", "sbin"}, name) && inside(to) == "usr/"+name
}

// AddonArguments is Arguments for an addon, whose UKI isn't known: it assumes that the initrd
// has everything that obeys such arguments, and the default policy.
func AddonArguments(r *Report, line bootcfg.Cmdline) {
	(&Initrd{}).Arguments(r, line, StartUnit, Trust{Config: bootcfg.DefaultConfig()})
}
