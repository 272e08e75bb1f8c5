package printable_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/composefs-go/composefs/internal/printable"
)

// What is read from the text stays the same, and a terminal shows only what is there.
func TestJSONHasNothingThatIsNotPrintable(t *testing.T) {
	for _, s := range []string{"", "plain", "\u009b31m", "exe.\u202etxt", "tag\U000e0041", "\x7f", "\ttab\nline\x1b", "a\u2028b", "größe 𝄞", "\ufeffmark"} {
		text, err := json.MarshalIndent(map[string][]string{s: {s, "x"}}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		shown := printable.JSON(text)
		if clean := strings.ReplaceAll(string(shown), "\n", ""); printable.Index(clean) >= 0 {
			t.Errorf("%q: got %q", s, shown)
		}
		var back map[string][]string
		if err := json.Unmarshal(shown, &back); err != nil || len(back[s]) != 2 || back[s][0] != s {
			t.Errorf("%q: read back as %q, %v", s, back, err)
		}
	}
}

func TestWhatIsNotPrintableIsEscaped(t *testing.T) {
	for s, want := range map[string]string{
		"\x1b[2Jcleared":      `\x1b[2Jcleared`,
		"over\rwritten":       `over\rwritten`,
		"two\nlines":          `two\nlines`,
		"\a\b\x00\x7f\t":      `\a\b\x00\x7f\t`,
		"\u009b31m":           `\u009b31m`,
		"exe.\u202etxt":       `exe.\u202etxt`,
		"\u2066a\u2069":       `\u2066a\u2069`,
		"a\u2028b\u2029c":     `a\u2028b\u2029c`,
		"zero\u200bwidth":     `zero\u200bwidth`,
		"\ufeffmark":          `\ufeffmark`,
		"tag\U000e0041":       `tag\U000e0041`,
		"latin-1 \xe4, \x9b1": `latin-1 \xe4, \x9b1`,
		"half \xe2\x82":       `half \xe2\x82`,
	} {
		if got := printable.Line(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
		if got := printable.Line(want); got != want {
			t.Errorf("%s: escaped twice it becomes %s", want, got)
		}
	}
}

func TestPrintableTextStaysAndCostsNothing(t *testing.T) {
	for _, s := range []string{"", "/usr/lib/größe", "名前 имя", `C:\n "quoted"`, "\ufffd", "🙂"} {
		if got := printable.Line(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
		if n := testing.AllocsPerRun(10, func() { _ = printable.Line(s) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	}
}

func TestIndexFindsTheFirstByteThatIsNotPrintable(t *testing.T) {
	for s, want := range map[string]int{"": -1, "plain": -1, "größe": -1, "grö\nße": 4, "\xff": 0, "ab\u202e": 2} {
		if got := printable.Index(s); got != want {
			t.Errorf("%q: got %d, want %d", s, got, want)
		}
	}
}

func TestLinesKeepsTheEndsOfLines(t *testing.T) {
	if got, want := printable.Lines("a\x1b\nb\r\n"), "a\\x1b\nb\\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuotedTellsAnEscapeFromItself(t *testing.T) {
	for s, want := range map[string]string{"plain name": "plain name", "a\nb": `"a\nb"`, `a\nb`: `"a\\nb"`, `"a"`: `"\"a\""`, "ö": "ö", "\ufffd": "\ufffd", "\xff": `"\xff"`} {
		if got := printable.Quoted(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func TestJoinedErrorsStandOnOneLineAndNamesCannotJoinOthers(t *testing.T) {
	hostile := &fs.PathError{Op: "open", Path: "a\nhint: run this", Err: syscall.ENOENT}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{hostile, `open a\nhint: run this: no such file or directory`},
		{errors.Join(errors.New("one"), hostile, errors.New("three")), `one; open a\nhint: run this: no such file or directory; three`},
		{fmt.Errorf("build\r: %w", errors.Join(errors.New("one"), errors.New("two"))), `build\r: one; two`},
		{fmt.Errorf("%w, and then %w\x1b", errors.New("one"), errors.Join(errors.New("two"), errors.New("three"))), `one, and then two; three\x1b`},
		{errors.Join(errors.New("")), ""},
		{&hiding{errors.New("cause")}, `hidden\n`},
	} {
		if got := printable.Error(tt.err); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if got, want := printable.Sprintf("is: %v", tt.err), "is: "+tt.want; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A hiding error doesn't say what it wraps.
type hiding struct{ cause error }

func (h *hiding) Error() string { return "hidden\n" }
func (h *hiding) Unwrap() error { return h.cause }

func TestSprintfEscapesItsValuesAndLeavesNumbersAlone(t *testing.T) {
	if got, want := printable.Sprintf("%s: %d %v", "a\x1b", syscall.ENOENT, syscall.ENOENT), `a\x1b: 2 no such file or directory`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	values := []any{errors.New("a\nb")}
	printable.Sprintf("%v", values...)
	if _, ok := values[0].(error); !ok {
		t.Error("Sprintf changed the values that it was given")
	}
}

func FuzzLineIsPrintableAndLosesNothingPrintable(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		line := printable.Line(s)
		if printable.Index(line) >= 0 || !utf8.ValidString(line) {
			t.Errorf("%q became %q", s, line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q became %q, which has %U in it", s, line, r)
			}
		}
		if printable.Line(line) != line || printable.Index(s) < 0 && line != s {
			t.Errorf("%q became %q", s, line)
		}
		if lines := printable.Lines(s); strings.Count(lines, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q became %q", s, lines)
		}
	})
}
