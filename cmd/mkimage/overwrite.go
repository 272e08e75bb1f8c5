package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// outputFlags name files that a command writes.
var outputFlags = map[string]bool{"output": true, "one-use-key": true, "to-be-signed": true}

// ownCheck marks commands that look at their argument themselves: it may be replaced by the
// result, or has a message of its own.
const ownCheck = "own-check"

// refuseOverwriting refuses an output that another flag or an argument names too, or that
// lies in the repository: most likely it is a slip, and what is there would be lost.
func refuseOverwriting(cmd *cobra.Command, args []string) (err error) {
	cmd.Flags().Visit(func(out *pflag.Flag) {
		name := out.Value.String()
		if !outputFlags[out.Name] || standardOutputs[name] || err != nil {
			return
		}
		if f := cmd.Flags().Lookup("repo"); f != nil && f.Value.String() != "" && liesIn(name, f.Value.String()) {
			err = usagef(cmd, "--%s: %s is in the repository, which has its own files: name one outside of it", out.Name, name)
			return
		}
		there, statErr := os.Stat(name)
		if statErr != nil || !there.Mode().IsRegular() {
			return
		}
		cmd.Flags().Visit(func(in *pflag.Flag) {
			if in != out && err == nil && namesFile(flagTexts(in), there) {
				err = usagef(cmd, "--%s: %s is what --%s names too, and would be replaced: name another file", out.Name, name, in.Name)
			}
		})
		itself := out.Name == "output" && cmd.Annotations[ownCheck] != ""
		if err == nil && !itself && namesFile(args, there) {
			err = usagef(cmd, "--%s: %s is an argument too, and would be replaced: name another file", out.Name, name)
		}
	})
	return err
}

// flagTexts returns the values of a flag.
func flagTexts(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// namesFile reports whether one of the texts, or what follows a separator in it, as in
// PATH=FILE, @FILE and tar:FILE, names a file.
func namesFile(texts []string, file os.FileInfo) bool {
	for _, text := range texts {
		for {
			if st, err := os.Stat(text); err == nil && os.SameFile(st, file) {
				return true
			}
			at := strings.IndexAny(text, "=:@")
			if at < 0 {
				break
			}
			text = text[at+1:]
		}
	}
	return false
}

// liesIn reports whether a file is, or would be, somewhere below a directory.
func liesIn(name, dir string) bool {
	top, err := os.Stat(dir)
	if err != nil {
		return false
	}
	path, err := filepath.Abs(name)
	for err == nil && path != "/" {
		path = filepath.Dir(path)
		if st, err := os.Stat(path); err == nil && os.SameFile(st, top) {
			return true
		}
	}
	return false
}
