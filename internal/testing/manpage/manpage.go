// Package manpage makes the manual page of a command from its help.
//
// It is used instead of cobra/doc, which treats the help as Markdown and prints the
// default of a flag where the name of its value belongs. The help has a simpler format:
// paragraphs, tables of terms, and blocks of commands, distinguished by their
// indentation.
//
//	Build makes an image from SOURCE, which is one of     a paragraph
//
//	  DIR        directory                                terms
//	  tar:FILE   tar archive
//
//	  mkimage build ROOT                                  commands
package manpage

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Section is what a page has to say that isn't in the help.
type Section struct {
	Title string // in capitals
	Text  string // laid out as the help is
}

// FileName is the name of the command's page.
func FileName(cmd *cobra.Command) string { return dashed(cmd) + ".1" }

func dashed(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Render returns the manual page of a command in section 1. The extra sections come before
// SEE ALSO, which names the command's relatives, the commands that its help mentions, and
// the further pages in also, written NAME(SECTION). The page has no date, so that it
// changes only with the help.
func Render(cmd *cobra.Command, extra []Section, also ...string) string {
	p := &page{cmd: cmd, places: places(cmd)}
	p.line(`.\" Made from the help of %s: change that, and run go test ./cmd/mkimage -run TestManualPages -update`, cmd.CommandPath())
	p.line(`.TH %s 1 "" "composefs\-go" "User commands"`, escape(strings.ToUpper(dashed(cmd))))
	p.line(".SH NAME")
	p.line(`%s \- %s`, escape(dashed(cmd)), escape(cmd.Short))
	p.synopsis()
	p.line(".SH DESCRIPTION")
	long := cmd.Long
	if long == "" {
		long = strings.ToUpper(cmd.Short[:1]) + cmd.Short[1:] + "."
	}
	body, status := splitStatus(long)
	p.text(body)
	p.commands()
	p.options()
	p.exitStatus(status)
	for _, s := range extra {
		p.line(".SH %s", escape(s.Title))
		p.text(s.Text)
	}
	if cmd.Example != "" {
		p.line(".SH EXAMPLES")
		p.text(cmd.Example)
	}
	p.seeAlso(also)
	return p.b.String()
}

// A page is one that is being written.
type page struct {
	b      strings.Builder
	cmd    *cobra.Command
	places []string // words in capitals that stand for a value
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// places are the words in capitals that the command line of a command has for values.
func places(cmd *cobra.Command) []string {
	found := []string{"DIR", "FILE"} // of the help that is about all commands
	add := func(text string) { found = append(found, capitals.FindAllString(text, -1)...) }
	add(cmd.Use)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name, _ := pflag.UnquoteUsage(f)
		add(name)
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// A single capital is more often the beginning of a sentence.
var capitals = regexp.MustCompile(`\b[A-Z][A-Z_]+\b`)

func (p *page) synopsis() {
	p.line(".SH SYNOPSIS")
	_, arguments, _ := strings.Cut(p.cmd.Use, " ")
	text := `\fB` + escape(p.cmd.CommandPath()) + `\fR`
	if p.cmd.Flags().HasAvailableFlags() {
		text += ` [\fIOPTION\fR]...`
	}
	if arguments != "" {
		text += " " + synopsisWord.ReplaceAllStringFunc(escape(arguments), func(word string) string {
			if word[0] == '\\' {
				return `\fB` + word + `\fR`
			}
			return `\fI` + word + `\fR`
		})
	}
	p.line("%s", text)
}

// synopsisWord is an option or the name of a value, escaped.
var synopsisWord = regexp.MustCompile(`\\-\\-[a-z\\-]*[a-z]|\b[A-Z]+\b`)

// splitStatus takes the paragraphs about exit statuses out of the help.
func splitStatus(long string) (body string, status []string) {
	var rest []string
	for _, paragraph := range strings.Split(long, "\n\n") {
		if strings.HasPrefix(paragraph, "Exit status: ") || strings.HasPrefix(paragraph, "The exit status is ") {
			status = append(status, paragraph)
		} else {
			rest = append(rest, paragraph)
		}
	}
	return strings.Join(rest, "\n\n"), status
}

func (p *page) exitStatus(status []string) {
	p.line(".SH EXIT STATUS")
	if !p.cmd.HasParent() {
		for _, paragraph := range status {
			p.statusTable(strings.TrimPrefix(paragraph, "Exit status: "))
		}
		return
	}
	if len(status) == 0 {
		p.paragraph("0 if all went well, otherwise one of the statuses in mkimage(1).")
		return
	}
	for _, paragraph := range status {
		p.paragraph(paragraph)
	}
	p.line(".PP")
	p.paragraph("The other statuses are in mkimage(1).")
}

// statusTable writes a sentence like "0 done; 2 wrong usage." as a table, and what comes
// after it as it is.
func (p *page) statusTable(text string) {
	table, rest, _ := strings.Cut(text, ".\n")
	for _, row := range strings.Split(strings.TrimSuffix(table, "."), ";") {
		number, meaning, _ := strings.Cut(strings.TrimSpace(row), " ")
		p.line(".TP\n.B %s", number)
		p.paragraph(meaning)
	}
	if rest != "" {
		p.line(".PP")
		p.paragraph(rest)
	}
}

// text writes paragraphs, terms and commands, which blank lines separate.
func (p *page) text(text string) {
	previous := ""
	for i, block := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(block, "\n")
		rows := terms(lines)
		switch {
		case !strings.HasPrefix(block, "  "):
			if i > 0 {
				p.line(".PP")
			}
			p.paragraph(block)
			previous = "paragraph"
		case rows != nil:
			for _, r := range rows {
				p.line(".TP\n%s", p.markup(r[0]))
				p.paragraph(r[1])
			}
			previous = "terms"
		default:
			if previous != "" {
				p.line(".PP")
			}
			p.verbatim(lines)
			previous = "commands"
		}
	}
}

// verbatim writes commands.
func (p *page) verbatim(lines []string) {
	p.line(".RS 4\n.nf")
	for _, line := range lines {
		p.line("%s", escape(strings.TrimPrefix(line, "  ")))
	}
	p.line(".fi\n.RE")
}

var term = regexp.MustCompile(`^  (\S+(?: \S+){0,2}?)  +(\S.*)$`)

// terms takes a table of terms apart, or returns nil if the lines are something else.
func terms(lines []string) (rows [][2]string) {
	for _, line := range lines {
		if m := term.FindStringSubmatch(line); m != nil {
			rows = append(rows, [2]string{m[1], m[2]})
			continue
		}
		if len(rows) == 0 || !strings.HasPrefix(line, "      ") || strings.HasSuffix(rows[len(rows)-1][1], `\`) {
			return nil
		}
		rows[len(rows)-1][1] += "\n" + strings.TrimSpace(line)
	}
	return rows
}

func (p *page) paragraph(text string) {
	for line := range strings.Lines(text) {
		p.line("%s", p.markup(strings.TrimSpace(line)))
	}
}

// commands lists what there is below a command.
func (p *page) commands() {
	if !p.cmd.HasAvailableSubCommands() {
		return
	}
	p.line(".SH COMMANDS")
	for _, c := range p.cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			p.line(".TP\n\\fB%s\\fR(1)", escape(dashed(c)))
			p.paragraph(strings.ToUpper(c.Short[:1]) + c.Short[1:] + ".")
		}
	}
}

func (p *page) options() {
	p.line(".SH OPTIONS")
	p.flags(p.cmd.NonInheritedFlags())
	p.flags(p.cmd.InheritedFlags())
}

func (p *page) flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := `\fB` + escape("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB\-` + f.Shorthand + `\fR, ` + name
		}
		if value == "string" { // pflag's, where the help names no value
			value = "WORD"
		}
		switch {
		case value == "":
		case f.NoOptDefVal != "":
			name += `[=\fI` + escape(value) + `\fR]`
		default:
			name += ` \fI` + escape(value) + `\fR`
		}
		switch f.Name { // cobra's own words name the command
		case "help":
			usage = "print the help"
		case "version":
			usage = "print the version"
		}
		p.line(".TP\n%s", name)
		p.paragraph(strings.ToUpper(usage[:1]) + usage[1:] + defaultOf(f, usage) + ".")
	})
}

// defaultOf says the default of a flag, where the usage doesn't.
func defaultOf(f *pflag.Flag, usage string) string {
	switch f.DefValue {
	case "", "0", "false", "[]":
		return ""
	}
	if strings.Contains(usage, "(default") {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// mentioned finds the commands that a text mentions.
var mentioned = regexp.MustCompile(`\bmkimage((?: [a-z]+)+)`)

func (p *page) seeAlso(also []string) {
	var pages []string
	add := func(c *cobra.Command) {
		if name := dashed(c) + "(1)"; c != p.cmd && c.Name() != "help" && !slices.Contains(pages, name) {
			pages = append(pages, name)
		}
	}
	p.cmd.VisitParents(add)
	text := p.cmd.Long + p.cmd.Example
	if !p.cmd.HasParent() {
		text = "" // it names all of them anyway
	}
	for _, m := range mentioned.FindAllStringSubmatch(text, -1) {
		// The words of the text after the name are taken for arguments.
		if c, _, err := p.cmd.Root().Find(strings.Fields(m[1])); err == nil && c.HasParent() {
			add(c)
		}
	}
	for _, c := range p.cmd.Commands() {
		add(c)
	}
	slices.Sort(pages)
	pages = append(pages, also...)
	p.line(".SH SEE ALSO")
	for i, name := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		name, section, _ := strings.Cut(name, "(")
		p.line(`.BR %s (%s%s`, escape(name), section, comma)
	}
}

// inline is what is set in another font within a text: an option, a manual page, or a word
// in capitals.
var inline = regexp.MustCompile(`(?:^|[ (])--?[a-z][a-z0-9-]*|\b[a-z][a-z.-]+\([1-8]\)|\b[A-Z][A-Z_]+\b`)

// markup escapes a text and sets options bold, and words that stand for values in italics.
func (p *page) markup(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range inline.FindAllStringIndex(text, -1) {
		word := text[m[0]:m[1]]
		font := ""
		switch {
		case capitals.MatchString(word) && slices.Contains(p.places, word):
			font = `\fI`
		case strings.HasSuffix(word, ")"):
			b.WriteString(escapeAt(text[at:m[0]], at))
			name, section, _ := strings.Cut(word, "(")
			b.WriteString(`\fB` + escape(name) + `\fR(` + section)
			at = m[1]
			continue
		case strings.Contains(word, "-"):
			font = `\fB`
		default:
			continue
		}
		lead := len(word) - len(strings.TrimLeft(word, " ("))
		b.WriteString(escapeAt(text[at:m[0]+lead], at))
		b.WriteString(font + escape(word[lead:]) + `\fR`)
		at = m[1]
	}
	b.WriteString(escapeAt(text[at:], at))
	return b.String()
}

// escapeAt escapes a part of a line, which begins at an offset of it.
func escapeAt(text string, at int) string {
	if at == 0 {
		return escape(text)
	}
	return plain.Replace(text)
}

var plain = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\[u2026]`, "–", `\[en]`, "'", `\[aq]`, "`", `\[ga]`, "^", `\[ha]`, "~", `\[ti]`)

// escape makes a line that roff prints as it is: one that begins with a dot would be a
// request.
func escape(text string) string {
	if strings.HasPrefix(text, ".") {
		return `\&` + plain.Replace(text)
	}
	return plain.Replace(text)
}
