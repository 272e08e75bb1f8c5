package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An option is one of a command line as getopt_long(3) reads it: --name, or -x where name
// is a single letter.
type option struct {
	name string
	flag *bool              // set by an option without a value
	set  func(string) error // called with the value of an option that has one
}

// String is the option as it is written.
func (o *option) String() string {
	if o.isShort() {
		return "-" + o.name
	}
	return "--" + o.name
}

func (o *option) isShort() bool { return utf8.RuneCountInString(o.name) == 1 }

// getopt reads a command line as getopt_long does: options and arguments may stand
// in any order, and after "--" there are no options. A long option may be cut short as
// long as it is clear which one is meant; its value follows "=" or comes next. Short
// options may be written together; the value of the last one follows it or comes next.
// getopt returns the arguments; if there is an error, those before it.
func getopt(args []string, options []option) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(rest, args...), nil
		case len(arg) < 2 || arg[0] != '-':
			rest = append(rest, arg)
		case strings.HasPrefix(arg, "--"):
			args, err = longOption(options, arg, args)
		default:
			args, err = shortOptions(options, arg[1:], args)
		}
		if err != nil {
			return rest, err
		}
	}
	return rest, nil
}

// longOption applies one option, and returns the arguments in next that aren't its value.
func longOption(options []option, arg string, next []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	o, err := findOption(options, name)
	switch {
	case err != nil:
		return next, err
	case o.flag != nil && hasValue:
		return next, fmt.Errorf("option %s has no value", o)
	case o.flag != nil:
		*o.flag = true
		return next, nil
	case hasValue:
		return next, o.set(value)
	}
	return o.takeNext(next)
}

// shortOptions applies options that are written together, and returns the arguments in
// next that aren't a value.
func shortOptions(options []option, letters string, next []string) ([]string, error) {
	for letters != "" {
		letter, n := utf8.DecodeRuneInString(letters)
		letters = letters[n:]
		o := &option{}
		for j := range options {
			if options[j].name == string(letter) {
				o = &options[j]
			}
		}
		switch {
		case o.name == "":
			return next, fmt.Errorf("there is no option -%c", letter)
		case o.flag != nil:
			*o.flag = true
		case letters != "":
			return next, o.set(letters)
		default:
			return o.takeNext(next)
		}
	}
	return next, nil
}

// takeNext takes the first argument as the option's value, and returns the others.
func (o *option) takeNext(args []string) ([]string, error) {
	if len(args) == 0 {
		return args, fmt.Errorf("option %s needs a value", o)
	}
	return args[1:], o.set(args[0])
}

// findOption finds the option that arg means: "--" and a name, or the beginning of one.
func findOption(options []option, arg string) (*option, error) {
	name := strings.TrimPrefix(arg, "--")
	var found *option
	for i := range options {
		o := &options[i]
		switch {
		case o.isShort() || !strings.HasPrefix(o.name, name):
		case o.name == name:
			return o, nil
		case found != nil:
			return nil, fmt.Errorf("option %s can mean %s and %s", arg, found, o)
		default:
			found = o
		}
	}
	if found == nil {
		return nil, fmt.Errorf("there is no option %s", arg)
	}
	return found, nil
}
