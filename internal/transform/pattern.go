package transform

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// matcher is a pattern, anchored at both ends.
type matcher interface {
	match(subject []byte) (bool, error)
}

// compile makes a matcher of a pattern. Patterns with what package regexp doesn't
// know, such as look-ahead, take a backtracking one.
func compile(pattern string, kind byte) (matcher, error) {
	end := "."
	if kind != 0 {
		end = string(rune(kind))
	}
	text := "(?s)^(" + string(appendLatin1(nil, pattern)) + ")" + end
	re, err := regexp.Compile(text + "$")
	if err == nil {
		return regular{re}, nil
	}
	re2, err2 := regexp2.Compile(text+`\z`, regexp2.None)
	if err2 != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re2.MatchTimeout = backtrackMax
	return backtracking{re2}, nil
}

type regular struct{ re *regexp.Regexp }

func (r regular) match(subject []byte) (bool, error) { return r.re.Match(subject), nil }

// backtrackMax is how long a pattern may try to match one path. It ends patterns
// that would take for ever.
const backtrackMax = 5 * time.Second

type backtracking struct{ re *regexp2.Regexp }

func (b backtracking) match(subject []byte) (bool, error) {
	ok, err := b.re.MatchString(string(subject))
	if err != nil {
		return false, fmt.Errorf("pattern %q takes more than %s: write it without nested repetition", b.re, backtrackMax)
	}
	return ok, nil
}

// appendLatin1 appends s in UTF-8 as if each of its bytes were a character. So the
// patterns see bytes, as they are meant to, whatever the encoding of a name is.
func appendLatin1(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < 0x80 {
			b = append(b, s[i])
		} else {
			b = append(b, 0xc0|s[i]>>6, 0x80|s[i]&0x3f)
		}
	}
	return b
}

// literalPrefix splits a pattern into what all its matches begin with and the rest
// of the pattern. If in doubt, the prefix is too short.
func literalPrefix(pattern string) (prefix, rest string) {
	if strings.Contains(pattern, "|") && hasTopAlternative(pattern) {
		return "", pattern
	}
	var b []byte
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern) && isPunctuation(pattern[i+1]):
			i++
			c = pattern[i]
		case strings.IndexByte("*+?{", c) >= 0: // the last character need not be there
			return cutLast(b), pattern
		case strings.IndexByte(`\^$.[]()}|`, c) >= 0:
			return string(b), pattern[i:]
		}
		b = append(b, c)
	}
	return string(b), ""
}

func cutLast(b []byte) string {
	for len(b) > 0 && b[len(b)-1] >= 0x80 {
		b = b[:len(b)-1]
	}
	return string(b[:max(0, len(b)-1)])
}

func isPunctuation(c byte) bool {
	return c > ' ' && c < 0x7f && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
}

// hasTopAlternative reports whether a | may be outside of all groups.
func hasTopAlternative(pattern string) bool {
	depth := 0
	for i := 0; i < len(pattern) && depth >= 0; i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '[':
			i = classEnd(pattern, i)
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				return true
			}
		}
	}
	return depth != 0
}

// classEnd returns the place of the bracket that closes the class opened at i, the
// end of the pattern if there is none.
func classEnd(pattern string, i int) int {
	i++
	if i < len(pattern) && pattern[i] == '^' {
		i++
	}
	for first := i; i < len(pattern) && (pattern[i] != ']' || i == first); i++ {
		if pattern[i] == '\\' {
			i++
		} else if n := strings.Index(pattern[i:], ":]"); n > 0 && strings.HasPrefix(pattern[i:], "[:") {
			i += n + 1
		}
	}
	return i
}
