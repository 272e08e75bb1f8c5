package doctor

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// The rest of what dracut and systemd begin with.
const (
	switchRoot = "initrd-switch-root.service"
	verified   = "/" + program + " --verified"
)

// unitDirs are where systemd looks for units, the first one first. What an initrd has in
// /run is hidden by a tmpfs once systemd runs, but was meant to count.
var unitDirs = []string{
	"etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient", "run/systemd/generator.early",
	"etc/systemd/system", "etc/systemd/system.attached", "run/systemd/system", "run/systemd/system.attached", "run/systemd/generator",
	"usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system", "run/systemd/generator.late",
}

// gateUnits are what has to run, and to fail where it should, for the root to be verified
// and only then switched to.
var gateUnits = []string{unit, target, "initrd-root-device.target", switchRoot}

// elsewhere are beginnings of the settings that have a service see other files than the
// initrd's: a program of that name need not be ours there.
var elsewhere = []string{"RootDirectory", "RootImage", "RootEphemeral", "RootMStack", "Bind", "Mount", "Extension", "TemporaryFileSystem"}

// settings returns what holds of a unit, drop-ins included.
func (i *Initrd) settings(name string) []setting {
	return parseUnit(append([]fragment{{name, i.unitText(name)}}, i.dropIns(name)...))
}

// checkSettings looks for what has systemd skip a unit, overlook that it fails, or run
// another program.
func (i *Initrd) checkSettings(r *Report, name string, seen map[setting]bool) {
	for _, s := range i.settings(name) {
		if seen[s] {
			continue
		}
		seen[s] = true
		line, from := s.key+"="+s.value, "/"+s.from
		switch {
		case s.value == "/etc/initrd-release" && strings.HasSuffix(s.key, "PathExists"):
			// As systemd has it in its own units: it holds in every initrd.
		case strings.HasPrefix(s.key, "Condition"), strings.HasPrefix(s.key, "Assert"), s.key == "ExecCondition":
			r.Stop("unit-skipped", "%s has the line %q (%q): systemd takes a unit that it skips for one that has done its work", name, line, from)
		case s.key == "SuccessExitStatus":
			r.Stop("unit-status", "%s has the line %q (%q): a refused boot would count as a good one", name, line, from)
		case slices.ContainsFunc(elsewhere, func(begin string) bool { return strings.HasPrefix(s.key, begin) }):
			r.Warn("unit-elsewhere", "%s has the line %q (%q): the program that it starts would be of other files than the initrd's", name, line, from)
		}
	}
}

// startUnit says whether systemd in the initrd starts composefs-setup-root.
func (i *Initrd) startUnit(r *Report) Start {
	for _, name := range []string{unit, target, switchRoot} {
		if mask := i.masked(name); mask != "" {
			r.Stop("unit-masked", "%s is masked by /%s: systemd would not start it, and the boot would end or go on without composefs-setup-root", name, mask)
			return StartNone
		}
	}
	text := i.unitText(unit)
	if text == nil {
		r.Stop("unit", "the unit %s is not in the initrd, so nothing starts composefs-setup-root", unit)
		return StartNone
	}
	i.checkCommand(r, i.settings(unit))
	seen := map[setting]bool{} // a drop-in for all services is one mistake
	for _, name := range gateUnits {
		i.checkSettings(r, name, seen)
	}
	if !i.wanted() {
		r.Stop("unit-wanted", "%s is in the initrd, but %s doesn't want it, so nothing starts it", unit, target)
		return StartNone
	}
	if !slices.ContainsFunc(i.settings(switchRoot), func(s setting) bool { return s.key == "ExecStartPre" && s.value == verified }) {
		i.warnGate(r, "ExecStartPre="+verified+" of "+switchRoot)
	}
	return StartUnit
}

// masked returns the file that masks a unit: a link to /dev/null, or one that is empty.
func (i *Initrd) masked(name string) string {
	for _, dir := range unitDirs {
		at := path.Join(dir, name)
		info, err := i.Root.Lstat(at)
		if err != nil {
			continue
		}
		if to, err := i.Root.ReadLink(at); err == nil && path.Clean(to) == "/dev/null" || info.Mode().IsRegular() && info.Size() == 0 {
			return at
		}
		return "" // the first one counts
	}
	return ""
}

// unitText returns a unit without its drop-ins, nil if there is none.
func (i *Initrd) unitText(name string) []byte {
	for _, dir := range unitDirs {
		at := path.Join(dir, name)
		if _, err := i.Root.Lstat(at); err != nil {
			continue
		}
		if text, err := fs.ReadFile(i.Root, at); err == nil {
			return text
		}
		return nil // a link that leads nowhere in the initrd; the first one counts
	}
	return nil
}

// wanted reports whether the target wants or requires the unit.
func (i *Initrd) wanted() bool {
	for _, kind := range []string{".wants", ".requires"} {
		for _, dir := range unitDirs {
			at := path.Join(dir, target+kind, unit)
			if to, err := i.Root.ReadLink(at); err == nil && path.Clean(to) == "/dev/null" {
				break // whatever is in the directories that come later
			}
			if _, err := fs.Stat(i.Root, at); err == nil {
				return true
			}
		}
	}
	return false
}

// A fragment is a file that says something of a unit.
type fragment struct {
	name string
	text []byte
}

// aliases returns the names of a unit: its own, and the links to it. The
// drop-ins of each count.
func (i *Initrd) aliases(name string) []string {
	all := []string{name}
	for n := 0; n < len(all); n++ {
		add := func(name string) {
			if path.Ext(name) == path.Ext(all[0]) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		for _, dir := range unitDirs {
			if to, err := i.Root.ReadLink(path.Join(dir, all[n])); err == nil {
				add(path.Base(to))
			}
			entries, err := fs.ReadDir(i.Root, dir)
			if err != nil {
				continue
			}
			for _, e := range entries {
				if to, err := i.Root.ReadLink(path.Join(dir, e.Name())); err == nil && path.Base(to) == all[n] {
					add(e.Name())
				}
			}
		}
	}
	return all
}

// dropIns returns what changes a unit, in the order in which systemd reads it: by the
// names of the files. Of two with one name the first counts, and may be a link to
// /dev/null. Directories may be named after a prefix of the unit, up to a dash, or
// after its type alone.
func (i *Initrd) dropIns(name string) []fragment {
	_, kind, _ := strings.Cut(name, ".")
	var names []string
	for _, name := range i.aliases(name) {
		names = append(names, name)
		base := strings.TrimSuffix(name, "."+kind)
		for n := strings.LastIndex(base, "-"); n > 0; n = strings.LastIndex(base[:n], "-") {
			names = append(names, base[:n+1]+"."+kind)
		}
	}
	found := map[string]fragment{}
	for _, name := range append(names, kind) {
		for _, dir := range unitDirs {
			files, err := fs.Glob(i.Root, path.Join(dir, name+".d", "*.conf"))
			if err != nil {
				continue
			}
			for _, file := range files {
				if _, ok := found[path.Base(file)]; !ok {
					text, _ := fs.ReadFile(i.Root, file) // nothing, of a link to /dev/null
					found[path.Base(file)] = fragment{file, text}
				}
			}
		}
	}
	var all []fragment
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[name])
	}
	return all
}

// A setting is an assignment in a unit.
type setting struct{ key, value, from string }

// parseUnit returns the settings that count. An empty one takes back those before it with
// its name; one of conditions takes back all of them.
func parseUnit(files []fragment) []setting {
	var all []setting
	for _, f := range files {
		section := ""
		for _, line := range unitLines(f.text) {
			if strings.HasPrefix(line, "[") {
				section = line
				continue
			}
			key, value, ok := strings.Cut(line, "=")
			s := setting{strings.TrimSpace(key), strings.TrimSpace(value), f.name}
			if !ok || section != sectionOf(s.key) {
				continue // systemd takes no notice either
			}
			if s.value != "" {
				all = append(all, s)
				continue
			}
			all = slices.DeleteFunc(all, func(old setting) bool { return group(old.key) == group(s.key) })
		}
	}
	return all
}

// unitLines returns the lines as systemd joins them: a comment is none, whatever it ends
// with, and may stand within a line that is continued.
func unitLines(text []byte) (lines []string) {
	begun := ""
	ends := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\n")
	for line := range strings.SplitSeq(ends.Replace(strings.TrimPrefix(string(text), "\ufeff")), "\n") {
		line = strings.TrimLeft(line, " \t")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		begun += line
		if rest := strings.TrimRight(begun, "\\"); (len(begun)-len(rest))%2 == 1 {
			begun = begun[:len(begun)-1] + " "
			continue
		}
		lines, begun = append(lines, strings.TrimSpace(begun)), ""
	}
	return append(lines, strings.TrimSpace(begun))
}

// sectionOf returns the section in which a setting has to stand; it is for the settings that matter here.
func sectionOf(key string) string {
	if group(key) != key {
		return "[Unit]"
	}
	return "[Service]"
}

// group is what an empty assignment takes back: for conditions, all of them.
func group(key string) string {
	for _, list := range []string{"Condition", "Assert"} {
		if strings.HasPrefix(key, list) {
			return list
		}
	}
	return key
}

// checkCommand wants the unit to start composefs-setup-root, and that to do its work: a
// flag may have it do nothing, a dash have systemd overlook that it refuses.
func (i *Initrd) checkCommand(r *Report, settings []setting) {
	var commands []string
	for _, s := range settings {
		if s.key == "ExecStart" {
			commands = append(commands, s.value)
		}
	}
	command := strings.Join(commands, " ; ")
	name := strings.TrimPrefix(command, "/")
	text, err := fs.ReadFile(i.Root, name)
	switch {
	case command == "/"+program:
	case err == nil && bytes.Contains(text, marker):
		i.checkProgram(r, name)
	default:
		r.Stop("unit-command", "%s starts %q: want /%s, and nothing else", unit, command, program)
	}
}
