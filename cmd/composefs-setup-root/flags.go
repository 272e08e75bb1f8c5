package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/printable"
)

// settings are the values of the flags.
type settings struct {
	dryRun   bool
	verified bool
	shell    bool
	version  bool
	cmdline  string
	sysroot  string
	paths    setup.Paths
}

// A flagRow is a flag: with a value if it has a place for one.
type flagRow struct {
	name  string
	on    *bool
	value *string
	what  string // kind of value, for the help
	help  string
}

func (s *settings) rows() []flagRow {
	return []flagRow{
		{"cmdline", nil, &s.cmdline, "TEXT", "use TEXT as the kernel command line instead of /proc/cmdline"},
		{"config", nil, &s.paths.Config, "FILE", "read the policy from FILE, which may be missing (default " + bootcfg.ConfigPath + ")"},
		{"dry-run", &s.dryRun, nil, "", "print what would be done and do nothing"},
		{"keys", nil, &s.paths.Keys, "DIRECTORY", "read the trusted *.pub keys from DIRECTORY instead of the policy's"},
		{"shell", &s.shell, nil, "", "succeed if the policy allows a shell in the initramfs, and stop the machine if not"},
		{"sysroot", nil, &s.sysroot, "DIRECTORY", "DIRECTORY of the physical root, which the new root replaces (default /sysroot)"},
		{"verified", &s.verified, nil, "", "do nothing, and succeed if --sysroot is the root that was verified in this boot"},
		{"version", &s.version, nil, "", "print the version"},
	}
}

// errHelp is the error when help was asked for, and given.
var errHelp = errors.New("help")

// parseFlags reads the flags by hand: package flag would be a hundredth of the program.
func parseFlags(args []string, stdout, stderr io.Writer) (settings, error) {
	s := settings{sysroot: "/sysroot", paths: setup.Paths{Config: bootcfg.ConfigPath}}
	for len(args) > 0 {
		name, dashed := strings.CutPrefix(args[0], "-")
		name, value, assigned := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		switch {
		case !dashed:
			return s, complain(stderr, "unknown argument %q: composefs-setup-root takes flags only, see --help", args[0])
		case name == "h" || name == "help":
			s.help(stdout)
			return s, errHelp
		}
		f := s.flag(name)
		args = args[1:]
		switch {
		case f == nil:
			return s, complain(stderr, "flag provided but not defined: --%s, see --help", name)
		case f.on != nil && assigned:
			return s, complain(stderr, "--%s takes no value, found %q", name, value)
		case f.on != nil:
			*f.on = true
			continue
		case !assigned && len(args) == 0:
			return s, complain(stderr, "--%s wants a value: %s", name, f.what)
		case !assigned:
			value, args = args[0], args[1:]
		}
		*f.value = value
	}
	return s, nil
}

func (s *settings) flag(name string) *flagRow {
	for _, f := range s.rows() {
		if f.name == name {
			return &f
		}
	}
	return nil
}

func complain(stderr io.Writer, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	fmt.Fprintln(stderr, "composefs-setup-root: "+printable.Error(err))
	return err
}

func (s *settings) help(w io.Writer) {
	fmt.Fprint(w, usage)
	for _, f := range s.rows() {
		fmt.Fprintf(w, "  --%-20s %s\n", strings.TrimSpace(f.name+" "+f.what), f.help)
	}
	fmt.Fprint(w, exitCodes)
}
