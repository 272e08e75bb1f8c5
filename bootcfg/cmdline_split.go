package bootcfg

import "strings"

// SplitCmdline splits a kernel command line as the kernel does (next_arg in
// lib/cmdline.c): at white space outside double quotes, with no escapes. One pair of
// quotes around the whole parameter or around its value is removed. A lone "--" ends
// the parameters; the rest is for init.
func SplitCmdline(line string) (args []Arg, rest []string) {
	line = strings.TrimRight(line, "\x00\n")
	for {
		for line != "" && isSpace(line[0]) {
			line = line[1:]
		}
		if line == "" {
			return args, nil
		}
		word, tail := cutWord(line)
		line = tail
		a := parseArg(word)
		if a.Key == "--" && !a.Assigned {
			return args, strings.Fields(line)
		}
		args = append(args, a)
	}
}

// cutWord cuts the first word off: up to white space that is not in quotes.
func cutWord(line string) (word, tail string) {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case isSpace(line[i]) && !quoted:
			return line[:i], line[i:]
		}
	}
	return line, ""
}

// parseArg splits a word at the first "=" and removes the quotes that the
// kernel removes: an opening one at the start of the word or of the value, and
// with it a closing one at the end.
func parseArg(word string) Arg {
	if w, ok := strings.CutPrefix(word, `"`); ok {
		word = strings.TrimSuffix(w, `"`)
	}
	key, value, assigned := strings.Cut(word, "=")
	if v, ok := strings.CutPrefix(value, `"`); ok {
		value = strings.TrimSuffix(v, `"`)
	}
	return Arg{Key: key, Value: value, Assigned: assigned}
}

// SplitSystemd splits a kernel command line as systemd does (proc_cmdline_parse in
// src/basic/proc-cmdline.c), which differs from the kernel: single quotes count as double
// ones do, quotes may be anywhere in a word and all of them are removed, fewer characters
// are white space, and a lone "--" ends nothing.
func SplitSystemd(line string) []Arg {
	const space = " \t\n\r"
	var args []Arg
	var word []byte
	quote, inWord := byte(0), false
	end := func() {
		if inWord {
			key, value, assigned := strings.Cut(string(word), "=")
			args = append(args, Arg{Key: key, Value: value, Assigned: assigned})
		}
		word, inWord = word[:0], false
	}
	for _, c := range []byte(strings.TrimRight(line, "\x00\n")) {
		switch {
		case c == quote:
			quote = 0
		case quote != 0:
			word = append(word, c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case strings.IndexByte(space, c) >= 0:
			end()
		default:
			word, inWord = append(word, c), true
		}
	}
	end()
	return args
}

// isSpace is the kernel's isspace: of bytes, with the no-break space of Latin-1.
func isSpace(b byte) bool { return b == ' ' || (b >= '\t' && b <= '\r') || b == 0xa0 }

// OpenQuote reports whether a double quote in the line isn't closed. Text that is
// appended to such a line becomes part of its last parameter.
func OpenQuote(line string) bool { return strings.Count(line, `"`)%2 == 1 }
