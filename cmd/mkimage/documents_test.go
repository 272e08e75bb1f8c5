package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	fenced    = regexp.MustCompile("(?ms)^```.*?^```")
	inline    = regexp.MustCompile("`[^`]+`")
	continued = regexp.MustCompile(`\\\n\s*`)
	// mkimageCall is the name where a shell or one of our functions takes it for a command.
	mkimageCall = regexp.MustCompile("(?m)(?:^[ \t]*|`|\\$\\(|\" |as_root )\"?(?:\\$|build/)?mkimage\"? +([^\n|;)>#&`]*)")
)

// Every command that the documents and the examples run exists, and so does each of its
// options.
func TestDocumentsRunCommandsThatExist(t *testing.T) {
	calls := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*", "scripts/demo"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: want files, found none (%v)", pattern, err)
		}
		for _, name := range files {
			for _, call := range callsIn(t, name) {
				calls++
				checkCall(t, name, call)
			}
		}
	}
	if calls < 100 {
		t.Errorf("found %d calls of mkimage", calls)
	}
}

// callsIn returns the arguments of each call of mkimage in a file; in Markdown, only
// those in code.
func callsIn(t *testing.T, name string) (calls [][]string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = continued.ReplaceAll(text, []byte(" "))
	code := [][]byte{text}
	if strings.HasSuffix(name, ".md") {
		code = append(fenced.FindAll(text, -1), inline.FindAll(fenced.ReplaceAll(text, nil), -1)...)
	}
	for _, m := range mkimageCall.FindAllSubmatch(bytes.Join(code, []byte("\n")), -1) {
		calls = append(calls, strings.Fields(string(m[1])))
	}
	return calls
}

// checkCall finds the command of a call, and its options. COMMAND stands for any command.
func checkCall(t *testing.T, file string, words []string) {
	t.Helper()
	u := newUI(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
	cmd := newRoot(u)
	for _, word := range words {
		option, isOption := strings.CutPrefix(word, "--")
		switch {
		case isOption:
			option, _, _ = strings.Cut(option, "=")
			if option != "" && option != "help" && option != "version" && cmd.Flag(option) == nil && cmd.InheritedFlags().Lookup(option) == nil {
				t.Errorf("%s: %s has no option --%s: %s", file, cmd.CommandPath(), option, strings.Join(words, " "))
			}
		case cmd.HasSubCommands() && word != "COMMAND":
			sub := subcommand(cmd, word)
			if sub == nil {
				t.Errorf("%s: %s has no command %q: %s", file, cmd.CommandPath(), word, strings.Join(words, " "))
				return
			}
			cmd = sub
		}
	}
}

func subcommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name {
			return sub
		}
	}
	return nil
}
