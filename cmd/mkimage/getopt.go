package main

import (
	"fmt"
	"strings"
)

// An option is a long option of a command line as getopt_long(3) reads it.
type option struct {
	name string
	flag *bool              // set by an option without a value
	set  func(string) error // called with the value of one that has it
}

// getopt reads a command line as getopt_long does: options and arguments may stand
// in any order, an option may be cut short as long as it is clear which one is
// meant, a value follows "=" or comes next, and after "--" there are no options.
// It returns the arguments.
func getopt(args []string, options []option) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(rest, args...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		name, value, hasValue := strings.Cut(arg, "=")
		o, err := findOption(options, name)
		if err != nil {
			return nil, err
		}
		if o.flag != nil {
			if hasValue {
				return nil, fmt.Errorf("option --%s has no value", o.name)
			}
			*o.flag = true
			continue
		}
		if !hasValue && len(args) == 0 {
			return nil, fmt.Errorf("option --%s needs a value", o.name)
		}
		if !hasValue {
			value, args = args[0], args[1:]
		}
		if err := o.set(value); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// findOption finds the option that arg, "--" and a name or the start of one, means.
func findOption(options []option, arg string) (*option, error) {
	name, long := strings.CutPrefix(arg, "--")
	if !long {
		return nil, fmt.Errorf("there is no option %s", arg)
	}
	var found *option
	for i, o := range options {
		if o.name == name {
			return &options[i], nil
		}
		if !strings.HasPrefix(o.name, name) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("option %s can mean --%s and --%s", arg, found.name, o.name)
		}
		found = &options[i]
	}
	if found == nil {
		return nil, fmt.Errorf("there is no option %s", arg)
	}
	return found, nil
}
