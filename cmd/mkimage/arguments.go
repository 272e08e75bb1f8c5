package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageArgs turns a wrong number of arguments into a usage error that names them.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		if cmd.HasSubCommands() {
			return usageError{cmd, unknownCommand(cmd, args[0])}
		}
		if valid := cmd.ValidArgs; len(valid) > 0 && len(args) == 1 {
			return usagef(cmd, "want %s, found %q", strings.Join(valid, " or "), args[0])
		}
		most := len(args)
		for most > 0 && check(cmd, args[:most]) != nil {
			most--
		}
		switch {
		case check(cmd, args[:most]) != nil:
			return tooFew(cmd, args)
		case most == 0:
			return usagef(cmd, "want flags only, found %s", quoted(args))
		case most == 1:
			return usagef(cmd, "want one argument, found %d: %s", len(args), quoted(args))
		}
		return usagef(cmd, "want %d arguments, found %d: %s", most, len(args), quoted(args))
	}
}

// tooFew is the error for missing arguments; it shows how the command is used.
func tooFew(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef(cmd, "want an argument, found none; usage: %s", cmd.UseLine())
	}
	return usagef(cmd, "want another argument after %s; usage: %s", quoted(args), cmd.UseLine())
}

// quoted lists arguments in quotes.
func quoted(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	var all []string
	for _, a := range args {
		all = append(all, fmt.Sprintf("%q", a))
	}
	return strings.Join(all, " ")
}

// misspelt returns the error for a command line that names a command that doesn't exist,
// with --help too, for which cobra shows the help of all commands.
func misspelt(root *cobra.Command, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil // cobra adds that command later
	}
	cmd, rest, err := root.Find(args)
	if err != nil || !cmd.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return nil
	}
	return usageError{cmd, unknownCommand(cmd, rest[0])}
}

// unknownCommand is the error for a command that doesn't exist; it names those that do.
func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q; did you mean %s?", name, near[0])
	}
	var all []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	return fmt.Errorf("unknown command %q; there are: %s", name, strings.Join(all, ", "))
}

// flagError replaces pflag's message about a flag by one in the style of ours.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		err = unknownFlag(cmd, unknown)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		err = fmt.Errorf("--%s: want %s, found %q", f.Name, flagValues[f.Value.Type()], invalid.GetValue())
		if errors.Is(invalid, strconv.ErrRange) {
			err = fmt.Errorf("--%s: want %s with fewer digits, found %q", f.Name, flagValues[f.Value.Type()], invalid.GetValue())
		}
		if flagValues[f.Value.Type()] == "" {
			err = invalid
		}
	case errors.As(err, &missing):
		operand, _ := pflag.UnquoteUsage(missing.GetFlag())
		err = fmt.Errorf("--%s: want %s after it, found nothing", missing.GetFlag().Name, operand)
	}
	return usageError{cmd, err}
}

// flagValues describes the values of each type of flag.
var flagValues = map[string]string{
	"uint64": "a whole number that isn't negative", "int64": "a whole number", "int": "a whole number", "bool": "true or false",
}

// require returns a usage error that names the flags that are needed and have no value.
func require(cmd *cobra.Command, flags ...string) error {
	var missing []string
	for _, name := range flags {
		f := cmd.Flags().Lookup(name)
		list, _ := f.Value.(pflag.SliceValue)
		if f.Value.String() == "" || list != nil && len(list.GetSlice()) == 0 {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	of := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	return usagef(cmd, "%s needs %s", of, inSentence(missing))
}

// inSentence joins words with commas, and the last with "and".
func inSentence(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// unknownFlag is the error for a flag that doesn't exist; it names the most similar one.
func unknownFlag(cmd *cobra.Command, e *pflag.NotExistError) error {
	name := e.GetSpecifiedName()
	if e.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("there is no flag -%s", name)
	}
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && (distance(f.Name, name) <= 2 || len(name) > 2 && strings.HasPrefix(f.Name, name)) {
			near = append(near, f.Name)
		}
	})
	if len(near) == 0 {
		return fmt.Errorf("there is no flag --%s", name)
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance(a, name) - distance(b, name) })
	return fmt.Errorf("there is no flag --%s; did you mean --%s?", name, near[0])
}

// distance returns how many letters must be added, removed or changed to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// jsonAsked looks for --json before the command line is parsed.
func jsonAsked(args []string) bool {
	for _, a := range args {
		switch a {
		case "--json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}

// checkValues refuses values of flags that are most likely mistakes.
func checkValues(args []string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, rest []string) error {
		if err := refuseSwallowed(cmd, args); err != nil {
			return err
		}
		if err := refuseTogether(cmd); err != nil {
			return err
		}
		if err := refuseEmpty(cmd, rest); err != nil {
			return err
		}
		return refuseOverwriting(cmd, rest)
	}
}

// refuseSwallowed refuses a flag in the place of another flag's value, as in
// "--output --json": most likely the value was forgotten. With "=" it can be meant.
func refuseSwallowed(cmd *cobra.Command, args []string) error {
	for i := 0; i+1 < len(args) && args[i] != "--"; i++ {
		f := takesNext(cmd, args[i])
		if f == nil {
			continue
		}
		i++
		if value := args[i]; looksLikeFlag(cmd, value) {
			operand, _ := pflag.UnquoteUsage(f)
			return usagef(cmd, "--%s: want %s after it, found %s; if that is meant, say --%s=%s", f.Name, operand, value, f.Name, value)
		}
	}
	return nil
}

// takesNext returns the flag that arg is, if its value is the next argument; otherwise nil.
func takesNext(cmd *cobra.Command, arg string) *pflag.Flag {
	var f *pflag.Flag
	if name, long := strings.CutPrefix(arg, "--"); long {
		f = cmd.Flags().Lookup(name)
	} else if strings.HasPrefix(arg, "-") && len(arg) > 1 {
		// If short flags are written together, the value is for the last one.
		for i := 1; i < len(arg); i++ {
			f = cmd.Flags().ShorthandLookup(arg[i : i+1])
			if f == nil || f.NoOptDefVal == "" && i+1 < len(arg) {
				return nil
			}
		}
	}
	if f == nil || f.NoOptDefVal != "" {
		return nil
	}
	return f
}

// looksLikeFlag reports whether a text is a flag of the command, or a misspelt flag.
func looksLikeFlag(cmd *cobra.Command, text string) bool {
	if name, long := strings.CutPrefix(text, "--"); long {
		return name != ""
	}
	return len(text) == 2 && text[0] == '-' && cmd.Flags().ShorthandLookup(text[1:]) != nil
}

// refuseTogether refuses flags that exclude each other.
func refuseTogether(cmd *cobra.Command) error {
	if cmd.ValidateFlagGroups() == nil {
		return nil
	}
	var given []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if len(f.Annotations[exclusive]) > 0 {
			given = append(given, "--"+f.Name)
		}
	})
	return usagef(cmd, "%s exclude each other", strings.Join(given, " and "))
}

// exclusive is how cobra marks such flags.
const exclusive = "cobra_annotation_mutually_exclusive"

// refuseEmpty refuses an empty name: most likely a shell variable is unset, and something
// that was meant to be encrypted, sealed or restricted wouldn't be.
func refuseEmpty(cmd *cobra.Command, rest []string) (err error) {
	if slices.Contains(rest, "") && !cmd.Hidden && cmd.Annotations[ownCheck] == "" {
		return usagef(cmd, "argument %d of %d is an empty text; usage: %s", slices.Index(rest, "")+1, len(rest), cmd.UseLine())
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		operand, _ := pflag.UnquoteUsage(f)
		if operand == strings.ToLower(operand) || operand == "TEXT" || err != nil {
			return // a text may be empty
		}
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = slices.Contains(list.GetSlice(), "")
		}
		if empty {
			err = usagef(cmd, "--%s: want %s, found an empty text", f.Name, operand)
		}
	})
	return err
}
