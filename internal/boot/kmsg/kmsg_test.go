package kmsg_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

func TestPrintfIsOneBoundedRecord(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "image not found", "<27>composefs: image not found\n"},
		{"a name stays on its line", "a\nb", "<27>composefs: a\\nb\n"},
		{"no terminal commands", "a\x1b[2Jb\u009b", "<27>composefs: a\\x1b[2Jb\\u009b\n"},
	} {
		var out strings.Builder
		kmsg.New(&out, nil).Printf(kmsg.Err, "%s", c.text)
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, out.String(), c.want)
		}
	}
	var out strings.Builder
	kmsg.New(&out, nil).Printf(kmsg.Err, "%v", errors.Join(errors.New("a"), errors.New("b")))
	if want := "<27>composefs: a; b\n"; out.String() != want {
		t.Errorf("joined errors: %q, want %q", out.String(), want)
	}
	out.Reset()
	kmsg.New(&out, nil).Printf(kmsg.Info, "%s", strings.Repeat("ä", 2000))
	if s := out.String(); len(s) > 1000 || !strings.HasSuffix(s, "ä…\n") || strings.ContainsRune(s, '\ufffd') {
		t.Errorf("a long line is %d bytes and ends in %q", len(s), s[len(s)-8:])
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no") }

func TestPrintfFallsBackToPlain(t *testing.T) {
	var out strings.Builder
	kmsg.New(brokenWriter{}, &out).Printf(kmsg.Err, "x")
	kmsg.New(nil, &out).Printf(kmsg.Err, "y")
	if out.String() != "composefs: x\ncomposefs: y\n" {
		t.Errorf("%q", out.String())
	}
}
