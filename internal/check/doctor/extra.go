package doctor

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// extraDir is where systemd-stub puts what lies beside the UKI on the EFI system partition, which
// nobody has signed.
const extraDir = ".extra"

// checkExtra wants no file of the initrd to be there, or to lead there: it would be another one at
// boot.
func (i *Initrd) checkExtra(r *Report) {
	_ = fs.WalkDir(i.Root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what can't be read has been refused while it was unpacked
		}
		if isBelow(name, extraDir) && !e.IsDir() {
			r.Stop("extra", "/%s is where systemd-stub puts unsigned files from beside the UKI: at boot it may be another file", name)
			return nil
		}
		to, err := i.Root.ReadLink(name)
		if e.Type()&fs.ModeSymlink == 0 || err != nil {
			return nil
		}
		if !path.IsAbs(to) {
			to = path.Join("/", path.Dir(name), to)
		}
		if isBelow(strings.TrimPrefix(path.Clean(to), "/"), extraDir) {
			r.Stop("extra", "/%s is a link to %s, where systemd-stub puts unsigned files from beside the UKI", name, to)
		}
		return nil
	})
}

func isBelow(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// managerFiles are the files with systemd's own settings, and directories with more of them.
var managerFiles = []string{"etc/systemd/system.conf", "usr/lib/systemd/system.conf", "lib/systemd/system.conf", "usr/local/lib/systemd/system.conf", "run/systemd/system.conf"}

// checkManager wants systemd to have no environment from a file: it may say where units are, or which
// libraries programs have.
func (i *Initrd) checkManager(r *Report) {
	told := map[string]bool{}
	for _, file := range managerFiles {
		files := []string{file}
		entries, _ := fs.ReadDir(i.Root, file+".d")
		for _, e := range entries {
			files = append(files, path.Join(file+".d", e.Name()))
		}
		for _, name := range files {
			text, err := fs.ReadFile(i.Root, name)
			if err != nil {
				continue
			}
			lines := slices.Collect(strings.Lines(string(text)))
			at := slices.IndexFunc(lines, func(line string) bool {
				return strings.Contains(line, "Environment") && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";")
			})
			if at >= 0 && !told[string(text)] {
				told[string(text)] = true
				r.Stop("manager-environment", "/%s has the line %q: systemd would have that in its environment, which may say where it looks for units", name, strings.TrimSpace(lines[at]))
			}
		}
	}
}
