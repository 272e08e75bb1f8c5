package programs

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A use is a place that uses a program.
type use struct {
	program string
	file    string
}

// uses collects them. functions are the ones that our scripts define; scripts source
// each other, so in no script is such a name a program.
type uses struct {
	all       []use
	functions map[string]bool
}

func (u *uses) add(file, program string) {
	if program != "" && !strings.ContainsAny(program, "/$*?{}[]=") {
		u.all = append(u.all, use{program, file})
	}
}

// shell adds the programs that a script uses, and records its functions.
func (u *uses) shell(file string, r io.Reader) error {
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(r, file)
	if err != nil {
		return err
	}
	syntax.Walk(parsed, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			u.functions[n.Name.Value] = true
		case *syntax.CallExpr:
			words := make([]string, len(n.Args))
			for i, w := range n.Args {
				words[i] = literal(w)
			}
			u.command(file, words)
		}
		return true
	})
	return nil
}

// unknown stands for a word that is known only when the script runs.
const unknown = "$"

// literal returns a word without quotes; variables in it become unknown.
func literal(w *syntax.Word) string {
	var b strings.Builder
	for _, p := range w.Parts {
		switch p := p.(type) {
		case *syntax.Lit:
			b.WriteString(p.Value)
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			b.WriteString(literal(&syntax.Word{Parts: p.Parts}))
		default:
			b.WriteString(unknown)
		}
	}
	return b.String()
}

// wrappers run the command that follows their options and this number of further words.
var wrappers = map[string]int{
	"env": 0, "exec": 0, "nice": 0, "sudo": 0, "time": 0, "xargs": 0, "unshare": 0, "setpriv": 0,
	"timeout": 1, "flock": 1, "strace": 0, "eval": 0, "as_root": 0, "step": 2, "look": 1,
}

// valued are options of wrappers that take the next word as their value.
var valued = []string{"-u", "-n", "-e", "-o", "-P", "-L", "-I", "--reuid", "--regid"}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// command adds the program of one command, and the programs that it runs in turn.
func (u *uses) command(file string, words []string) {
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	name, rest := words[0], words[1:]
	skip, wraps := wrappers[name]
	switch {
	case name == "need":
		for _, program := range rest {
			u.add(file, program)
		}
	case name == "command" && len(rest) > 0 && rest[0] == "-v":
		u.add(file, rest[len(rest)-1])
	case name == "command":
		u.command(file, withoutOptions(rest))
	case name == "trap" && len(rest) > 0 && rest[0] != "-":
		_ = u.shell(file, strings.NewReader(rest[0]))
	case wraps:
		u.add(file, name)
		rest = withoutOptions(rest)
		if len(rest) > skip {
			u.command(file, rest[skip:])
		}
	default:
		u.add(file, name)
		u.nested(file, name, rest)
	}
}

// nested adds the programs that are run by find, and by a shell with its script as an
// argument.
func (u *uses) nested(file, name string, rest []string) {
	isShell := name == "sh" || name == "bash" || name == "dash"
	for i, word := range rest[:max(len(rest)-1, 0)] {
		switch {
		case isShell && strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && strings.HasSuffix(word, "c"):
			// Not every text is a script for bash; one that can't be parsed has no
			// programs.
			_ = u.shell(file, strings.NewReader(rest[i+1]))
			return
		case name == "find" && (word == "-exec" || word == "-execdir"):
			u.command(file, rest[i+1:])
		}
	}
}

func withoutOptions(words []string) []string {
	for len(words) > 0 {
		switch word := words[0]; {
		case slices.Contains(valued, word):
			words = words[min(2, len(words)):]
		case strings.HasPrefix(word, "-"), assignment.MatchString(word):
			words = words[1:]
		default:
			return words
		}
	}
	return nil
}

var variable = regexp.MustCompile(`\$\([^()]*\)`)

// makefile adds the programs that the recipes use.
func (u *uses) makefile(file, text string) error {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		recipe, ok := strings.CutPrefix(line, "\t")
		if !ok {
			continue
		}
		recipe = strings.TrimLeft(recipe, "@-+")
		recipe = strings.NewReplacer("$(GO)", "go", "$(MAKE)", "make", "$$", "\x00").Replace(recipe)
		recipe = strings.ReplaceAll(variable.ReplaceAllString(recipe, "./variable"), "\x00", "$")
		if err := u.shell(file, strings.NewReader(recipe)); err != nil {
			return err
		}
	}
	return nil
}

var condition = regexp.MustCompile(`\[!?have:([^]]+)\]`)

// testscript adds the programs in the commands and conditions of a txtar file. Its
// files named *.sh are scripts too.
func (u *uses) testscript(file, text string) error {
	script, files, _ := strings.Cut("\n"+text, "\n-- ")
	for line := range strings.Lines(script) {
		for _, m := range condition.FindAllStringSubmatch(line, -1) {
			if m[1] != "root" {
				u.add(file, m[1])
			}
		}
		line = condition.ReplaceAllString(line, "")
		line = strings.TrimLeft(strings.TrimSpace(line), "! ")
		if command, ok := strings.CutPrefix(line, "exec "); ok {
			u.command(file, split(command))
		}
	}
	for part := range strings.SplitSeq(files, "\n-- ") {
		name, content, _ := strings.Cut(part, "\n")
		if strings.HasSuffix(strings.TrimSuffix(name, " --"), ".sh") {
			if err := u.shell(file, strings.NewReader(content)); err != nil {
				return err
			}
		}
	}
	return nil
}

// split splits a line of a testscript into words: only single quotes count, and two of
// them within quotes are one.
func split(line string) (words []string) {
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' && quoted && i+1 < len(line) && line[i+1] == '\'':
			word.WriteByte(c)
			i++
		case c == '\'':
			quoted, in = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		case !quoted && c == '#' && !in:
			return words
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
