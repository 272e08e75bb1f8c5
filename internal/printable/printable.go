// Package printable makes text from outside safe to show to people.
//
// A file name, a line of an archive or the text of a certificate may have anything in it:
// line ends that forge a message, escape sequences that command the terminal, characters
// that hide others or turn them round. Whatever strconv.IsPrint doesn't call printable
// is shown as its escape in Go; everything else stays as it is, a backslash too, so that
// a text may go through here twice. Letters of every script stay. The price is that
// "\n" may stand for itself: formats for programs have an escaping of their own.
package printable

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Index returns the index of the first byte of s that isn't part of a printable
// character in UTF-8, or -1.
func Index(s string) int {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if n == 1 || !strconv.IsPrint(r) {
			return i
		}
		i += n
	}
	return -1
}

// Line returns s as one line, with escapes for what isn't printable: \n, \t, \x1b,
// \u202e, and \xff for a byte that isn't UTF-8. It returns s itself, without allocating,
// if there is nothing to escape.
func Line(s string) string { return escape(s, "") }

// Lines is Line for a text of several lines: their ends stay.
func Lines(s string) string { return escape(s, "\n") }

// escape is Line, but leaves the characters in keep alone.
func escape(s, keep string) string {
	i := Index(s)
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = Index(s) {
		_, n := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[:i])
		if char := s[i : i+n]; strings.Contains(keep, char) {
			b.WriteString(char)
		} else {
			quoted := strconv.Quote(char)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[i+n:]
	}
	return b.String() + s
}

// JSON returns JSON text in which every character that isn't printable is an escape of
// JSON: the same value, safe to show. Encoders leave many such characters in strings as
// they are. It returns the text itself if there is nothing to escape, apart from the
// line ends between values.
func JSON(text []byte) []byte {
	s := string(text)
	if indexIn(s) < 0 {
		return text
	}
	var b []byte
	for i := indexIn(s); i >= 0; i = indexIn(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		b = append(b, s[:i]...)
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
		s = s[i+n:]
	}
	return append(b, s...)
}

// indexIn is Index for JSON, in which control characters are escaped but for line ends
// between values.
func indexIn(s string) int {
	at := 0
	for {
		i := Index(s[at:])
		switch {
		case i < 0:
			return -1
		case s[at+i] != '\n':
			return at + i
		}
		at += i + 1
	}
}

// Quoted returns s, or s as a string literal of Go if that would be another text. Unlike
// Line it is unambiguous: for columns and paths.
func Quoted(s string) string {
	if Index(s) < 0 && !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strconv.Quote(s)
}

// Error returns the text of an error as one line. Errors that errors.Join has put on
// lines of their own stand behind each other, with "; " between; a line end in a name
// is escaped.
func Error(err error) string {
	text := err.Error()
	var b strings.Builder
	for _, cause := range causes(err) {
		before, after, found := strings.Cut(text, cause.Error())
		if !found {
			continue
		}
		if before == "\n" {
			before = "; "
		}
		b.WriteString(Line(before))
		b.WriteString(Error(cause))
		text = after
	}
	if b.Len() == 0 {
		return Line(text)
	}
	return b.String() + Line(text)
}

// causes returns the errors that an error wraps.
func causes(err error) []error {
	switch err := err.(type) {
	case interface{ Unwrap() []error }:
		return err.Unwrap()
	case interface{ Unwrap() error }:
		if cause := err.Unwrap(); cause != nil {
			return []error{cause}
		}
	}
	return nil
}

// Sprintf formats one line as fmt.Sprintf does. Errors among the values are shown as
// Error shows them.
func Sprintf(format string, values ...any) string {
	own := false
	for i, v := range values {
		err, ok := v.(error)
		if !ok {
			continue
		}
		// An error that needs no escapes may be a number, which the format may ask for.
		if text := Error(err); text != err.Error() {
			if !own {
				values, own = slices.Clone(values), true
			}
			values[i] = text
		}
	}
	return Line(fmt.Sprintf(format, values...))
}
