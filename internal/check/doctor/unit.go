package doctor

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The rest of what dracut and systemd begin with.
const (
	first      = "initrd.target" // the one that systemd starts in an initrd
	switchRoot = "initrd-switch-root.service"
	usual      = "default.target" // by which dracut and mkinitcpio have first, too
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
var gateUnits = []string{unit, first, target, "initrd-root-device.target", switchRoot}

// elsewhere are beginnings of the settings that have a service see other files than the
// initrd's: a program of that name need not be ours there.
var elsewhere = []string{"RootDirectory", "RootImage", "RootEphemeral", "RootMStack", "BindPaths", "BindReadOnlyPaths", "BindLog", "Mount", "Extension", "TemporaryFileSystem"}

// ordinary are beginnings of the settings that a unit may have which decides whether the root is
// verified: they say what it is, when it is started, and where its messages go.
var ordinary = []string{
	"Description", "Documentation", "DefaultDependencies", "Wants", "Requires", "After", "Before", "AllowIsolate", "OnFailureJobMode",
	"BindsTo", "Requisite", "PartOf", "X-", "Type", "RemainAfterExit", "StandardInput", "StandardOutput", "StandardError", "Timeout", "ExecStart",
}

// switchCommands are what systemd starts to switch the root; which one depends on its version.
var switchCommands = []string{"systemctl --no-block switch-root", "systemctl --no-block switch-root /sysroot"}

// checkGate looks at a setting of a unit that decides whether the root is verified.
func (u unitFiles) checkGate(r *Report, s setting, line, from string) {
	command := strings.TrimPrefix(strings.TrimPrefix(s.value, "/usr/bin/"), "/bin/")
	switch {
	case s.key == "ExecStart" && u.name == switchRoot && !slices.Contains(switchCommands, command):
		r.Stop("unit-command", "%s has the line %q (%q): it would switch to another root than the verified one", u.name, line, from)
	case s.key == "ExecStartPre" && s.value != verified, s.key == "ExecStartPost", s.key == "ExecCondition":
		r.Stop("unit-command", "%s has the line %q (%q): it would start that too, which may change the root", u.name, line, from)
	case s.key == "OnFailure" && s.value == "emergency.target":
	case strings.HasPrefix(s.key, "OnFailure") && s.key != "OnFailureJobMode", s.key == "OnSuccess", s.key == "FailureAction", s.key == "SuccessAction":
		r.Stop("unit-setting", "%s has the line %q (%q): when the root is refused, something else than the emergency target would come", u.name, line, from)
	case !slices.ContainsFunc(ordinary, func(begin string) bool { return strings.HasPrefix(s.key, begin) }):
		r.Warn("unit-setting", "%s has the line %q (%q): whether the root is still verified with that can't be told", u.name, line, from)
	}
}

// checkSettings looks for what has systemd skip a unit, overlook that it fails, or run
// another program. Which of several files counts in the end doesn't matter: in a unit that
// the boot relies on there is no reason for any such line.
func (i *Initrd) checkSettings(r *Report, u unitFiles, seen map[setting]bool) {
	for _, s := range u.settings {
		if seen[s] {
			continue
		}
		seen[s] = true
		line, from := s.key+"="+s.value, "/"+s.from
		switch {
		case s.value == "/etc/initrd-release" && strings.HasSuffix(s.key, "PathExists"):
			// As systemd has it in its own units: it holds in every initrd.
		case s.value == "":
			// It takes others back, which have been found if there are any.
		case strings.HasPrefix(s.key, "Condition"), strings.HasPrefix(s.key, "Assert"), s.key == "ExecCondition":
			r.Stop("unit-skipped", "%s has the line %q (%q): systemd takes a unit that it skips for one that has done its work", u.name, line, from)
		case s.key == "SuccessExitStatus":
			r.Stop("unit-status", "%s has the line %q (%q): a refused boot would count as a good one", u.name, line, from)
		case slices.ContainsFunc(elsewhere, func(begin string) bool { return strings.HasPrefix(s.key, begin) }):
			r.Warn("unit-elsewhere", "%s has the line %q (%q): the program that it starts would be of other files than the initrd's", u.name, line, from)
		case u.name == unit || u.name == switchRoot:
			u.checkGate(r, s, line, from)
		}
	}
}

// startUnit says whether systemd in the initrd starts composefs-setup-root.
func (i *Initrd) startUnit(r *Report) Start {
	for _, name := range []string{unit, first, target, switchRoot} {
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
	files := map[string]unitFiles{}
	seen, told := map[setting]bool{}, map[string]bool{} // a drop-in for all services is one mistake
	for _, name := range gateUnits {
		files[name] = i.unitFiles(name)
		i.checkFiles(r, files[name], told)
		i.checkSettings(r, files[name], seen)
	}
	i.checkCommand(r, files[unit].settings)
	if !i.wanted(target, unit) {
		r.Stop("unit-wanted", "%s is in the initrd, but %s doesn't want it, so nothing starts it", unit, target)
		return StartNone
	}
	pulled := func(s setting) bool {
		return (s.key == "Wants" || s.key == "Requires") && slices.Contains(strings.Fields(s.value), target)
	}
	if !slices.ContainsFunc(files[first].settings, pulled) && !i.wanted(first, target) {
		r.Stop("unit-wanted", "%s, which systemd starts, doesn't want %s, so nothing starts %s", first, target, unit)
		return StartNone
	}
	if !files[switchRoot].has("ExecStartPre", verified) || files[switchRoot].has("ExecStartPre", "") || i.hidden(files[switchRoot]) {
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

// wanted reports whether links say that a target wants or requires a unit.
func (i *Initrd) wanted(target, unit string) bool {
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

// unitFiles are all files that say something of a unit, or might: of several with one name
// systemd reads one, but which one its versions don't agree on.
type unitFiles struct {
	name     string
	files    []string
	aliases  []string  // links by which it has another name, and further drop-ins
	odd      []oddFile // the ones that aren't written as units are
	settings []setting // of all files
}

// An oddFile is a file of a unit with a line that systemd may read otherwise than it seems.
type oddFile struct {
	file string
	line string
}

// A setting is an assignment in a file of a unit.
type setting struct{ key, value, from string }

func (u unitFiles) has(key, value string) bool {
	return slices.ContainsFunc(u.settings, func(s setting) bool { return s.key == key && s.value == value })
}

// unitFiles collects what there is of a unit. Drop-ins are in directories named after it,
// after a prefix of its name up to a dash, or after its type alone. The usual other name of
// initrd.target is accepted, and its drop-ins count too.
func (i *Initrd) unitFiles(name string) unitFiles {
	u := unitFiles{name: name}
	base, kind, _ := strings.Cut(name, ".")
	names := []string{name, kind}
	for n := strings.LastIndex(base, "-"); n > 0; n = strings.LastIndex(base[:n], "-") {
		names = append(names, base[:n+1]+"."+kind)
	}
	if name == first {
		names = append(names, usual)
	}
	for _, dir := range unitDirs {
		entries, err := fs.ReadDir(i.Root, dir)
		if err != nil || strings.HasPrefix(dir, "lib/") && isMergedUsr(i.Root, "lib") {
			continue
		}
		for _, e := range entries {
			at := path.Join(dir, e.Name())
			to, err := i.Root.ReadLink(at)
			isLink := err == nil && path.Clean(to) != "/dev/null"
			if isLink && (e.Name() == name) != (path.Base(to) == name) && !(name == first && e.Name() == usual) {
				u.aliases = append(u.aliases, at)
			}
			if dropIns, ok := strings.CutSuffix(e.Name(), ".d"); ok && slices.Contains(names, dropIns) {
				files, _ := fs.ReadDir(i.Root, at) // of a link too, which systemd follows
				for _, f := range files {
					if strings.HasSuffix(f.Name(), ".conf") {
						i.addFile(&u, path.Join(at, f.Name()))
					}
				}
			} else if e.Name() == name {
				i.addFile(&u, at)
			}
		}
	}
	return u
}

// addFile reads a file of a unit. A link to /dev/null has nothing in it.
func (i *Initrd) addFile(u *unitFiles, name string) {
	u.files = append(u.files, name)
	text, err := fs.ReadFile(i.Root, name)
	if err != nil {
		return
	}
	settings, odd := parseUnit(name, string(text))
	u.settings = append(u.settings, settings...)
	if odd != "" {
		u.odd = append(u.odd, oddFile{name, odd})
	}
}

// hidden reports whether a drop-in with the gate may be hidden by another file of its name.
func (i *Initrd) hidden(u unitFiles) bool {
	return slices.ContainsFunc(u.settings, func(s setting) bool {
		return s.value == verified && slices.ContainsFunc(u.files, func(other string) bool {
			return other != s.from && path.Base(other) == path.Base(s.from)
		})
	})
}

// checkFiles reports files of which it can't be told for certain what systemd makes of them.
func (i *Initrd) checkFiles(r *Report, u unitFiles, told map[string]bool) {
	for _, at := range u.aliases {
		r.Stop("unit-alias", "/%s gives %s another name, for which there may be other settings", at, u.name)
	}
	for _, odd := range u.odd {
		if !told[odd.file] {
			told[odd.file] = true
			r.Stop("unit-text", "/%s has a say in %s, and has a line that isn't one of a unit as systemd writes them, [SECTION], KEY=VALUE or a comment: %.100q", odd.file, u.name, odd.line)
		}
	}
}

// The lines that units have. All else, such as a line that is continued, blanks before a
// key or a mark at its beginning, systemd may understand otherwise than whoever reads it.
var (
	unitSection = regexp.MustCompile(`^\[[A-Za-z-]+\]$`)
	unitSetting = regexp.MustCompile(`^([A-Za-z0-9-]+) ?= ?([^\pC\pZ](?:[^\pC\pZ]|[ \t])*)?$`)
	unitComment = regexp.MustCompile(`^[#;](?:[^\pC\pZ]|[ \t])*$`)
)

// parseUnit returns the settings in a file, in whatever section, and the first line that is
// no line of a unit.
func parseUnit(name, text string) (all []setting, odd string) {
	for line := range strings.SplitSeq(text, "\n") {
		match := unitSetting.FindStringSubmatch(line)
		switch {
		case strings.HasSuffix(line, `\`) && !unitComment.MatchString(line):
			match = nil
		case line == "", unitSection.MatchString(line), unitComment.MatchString(line):
			continue
		}
		if match == nil && odd == "" {
			odd = line
		}
		if match != nil {
			all = append(all, setting{match[1], strings.TrimRight(match[2], " \t"), name})
		}
	}
	return all, odd
}

// plainPath matches what systemd takes for a path and nothing else.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)

// checkCommand wants the unit to start composefs-setup-root, and that to do its work: a
// flag may have it do nothing, a dash have systemd overlook that it refuses.
func (i *Initrd) checkCommand(r *Report, settings []setting) {
	none := true
	for _, s := range settings {
		if s.key != "ExecStart" || s.value == "" {
			continue
		}
		none = false
		name := strings.TrimPrefix(s.value, "/")
		text, err := fs.ReadFile(i.Root, name)
		switch {
		case s.value == "/"+program:
		case err == nil && plainPath.MatchString(s.value) && bytes.Contains(text, marker):
			i.checkProgram(r, name)
		default:
			r.Stop("unit-command", "%s starts %q (%q): want /%s, and nothing else", unit, s.value, "/"+s.from, program)
		}
	}
	if none {
		r.Stop("unit-command", "%s starts nothing: want /%s", unit, program)
	}
}
