package doctor

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// The kernel, systemd and the shell scripts of an initramfs split the command line each in
// a way of its own. A parameter counts if any of them finds it.

// everyReading returns the parameters that any of the readers finds, each once.
func everyReading(line bootcfg.Cmdline) []bootcfg.Arg {
	args := slices.Clone(line.Args)
	for _, a := range slices.Concat(bootcfg.SplitSystemd(line.Text), splitShell(line.Text)) {
		if !slices.Contains(args, a) {
			args = append(args, a)
		}
	}
	return args
}

// splitShell splits a command line as an unquoted $(cat /proc/cmdline) does. Words with quotes
// are left out: they keep them, and mean nothing to a script.
func splitShell(line string) []bootcfg.Arg {
	var args []bootcfg.Arg
	for word := range strings.FieldsFuncSeq(line, func(c rune) bool { return strings.ContainsRune(" \t\n", c) }) {
		if !strings.ContainsAny(word, `"'`) {
			key, value, assigned := strings.Cut(word, "=")
			args = append(args, bootcfg.Arg{Key: key, Value: value, Assigned: assigned})
		}
	}
	return args
}

// initsOf returns what init= names for each of the readers, to which the last one counts.
func initsOf(line bootcfg.Cmdline) []string {
	var inits []string
	for _, args := range [][]bootcfg.Arg{line.Args, bootcfg.SplitSystemd(line.Text), splitShell(line.Text)} {
		init, ok := bootcfg.Cmdline{Args: args}.Lookup("init")
		if ok && init != "" && !slices.Contains(inits, init) {
			inits = append(inits, init)
		}
	}
	return inits
}

// checkQuotes says where the kernel and systemd disagree, as they do about single quotes.
func checkQuotes(r *Report, line bootcfg.Cmdline) {
	systemd := bootcfg.SplitSystemd(line.Text)
	for _, a := range line.Args {
		if !slices.Contains(systemd, a) {
			r.Warn("quotes", "the kernel finds the parameter %s in the command line, and systemd doesn't: they take quotes differently", written(a))
			return
		}
	}
	for _, a := range systemd {
		if !slices.Contains(line.Args, a) && !slices.Contains(line.Init, written(a)) && a.Key != "--" {
			r.Warn("quotes", "systemd finds the parameter %s in the command line, and the kernel doesn't: they take quotes differently", written(a))
			return
		}
	}
}

// written is a parameter as it is written without quotes.
func written(a bootcfg.Arg) string {
	if a.Assigned {
		return a.Key + "=" + a.Value
	}
	return a.Key
}

// importsCredentials reports whether systemd takes credentials in at all. Nothing else reads
// these parameters.
func importsCredentials(line bootcfg.Cmdline) bool {
	imports := true
	for _, a := range bootcfg.SplitSystemd(line.Text) {
		if key := systemdKey(a); key == "systemd.import_credentials" || key == "rd.systemd.import_credentials" {
			imports = !isOff(a.Value)
		}
	}
	return imports
}
