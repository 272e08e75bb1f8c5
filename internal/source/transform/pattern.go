package transform

import (
	"fmt"
	"regexp"
	"time"

	"github.com/dlclark/regexp2"
)

// A matcher is a pattern, anchored at both ends.
type matcher interface {
	match(subject []byte) (bool, error)
}

// compile returns a matcher for a pattern. Patterns that package regexp doesn't support,
// for instance with look-ahead, get a backtracking matcher.
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
	return backtracker{re2}, nil
}

type regular struct{ re *regexp.Regexp }

func (r regular) match(subject []byte) (bool, error) { return r.re.Match(subject), nil }

// backtrackMax limits how long a backtracking pattern may take to match one path: some
// would take forever.
const backtrackMax = 5 * time.Second

type backtracker struct{ re *regexp2.Regexp }

func (b backtracker) match(subject []byte) (bool, error) {
	ok, err := b.re.MatchString(string(subject))
	if err != nil {
		return false, fmt.Errorf("pattern %q takes more than %s", b.re, backtrackMax)
	}
	return ok, nil
}

// appendLatin1 appends s in UTF-8 as if each of its bytes were a character. This way the
// patterns match bytes, whatever the encoding of a name is.
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
