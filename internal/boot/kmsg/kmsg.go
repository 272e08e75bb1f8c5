// Package kmsg writes messages during boot, one line at a time, to the kernel's
// log, which the console shows, or to standard error if that isn't available.
//
// The kernel drops messages that come too fast (more than 10 lines in 5 seconds)
// and refuses records of more than 1024 bytes, so messages should be few, and long
// ones are cut.
package kmsg

import (
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/composefs-go/composefs/internal/printable"
)

// A Level is a syslog severity.
type Level int

// The levels in use. With "quiet" the console shows Err, but not Info.
const (
	Err     Level = 3
	Warning Level = 4
	Info    Level = 6
)

// maxLine leaves room for the level and our name below the kernel's 1024 bytes.
const maxLine = 960

// daemon is the syslog facility of user-space services, as the kernel wants it.
const daemon = 3 << 3

// A Log writes lines. The zero Log writes nothing.
type Log struct {
	kernel io.Writer // /dev/kmsg, or nil
	plain  io.Writer
}

// Open returns a log that writes to /dev/kmsg if it can be opened for writing,
// and to w otherwise.
func Open(w io.Writer) *Log {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return New(nil, w)
	}
	return New(f, w)
}

// New returns a log that writes records to kernel, or plain lines to w if kernel is nil.
func New(kernel, w io.Writer) *Log { return &Log{kernel: kernel, plain: w} }

// Printf says one line. Names may come from an attacker's disk: what isn't printable is
// escaped.
func (l *Log) Printf(level Level, format string, args ...any) {
	line := "composefs: " + cut(printable.Sprintf(format, args...))
	if l.kernel != nil {
		// One record is one write.
		if _, err := fmt.Fprintf(l.kernel, "<%d>%s\n", daemon|int(level), line); err == nil {
			return
		}
	}
	if l.plain != nil {
		fmt.Fprintln(l.plain, line)
	}
}

// cut returns at most maxLine bytes of s, and whole characters.
func cut(s string) string {
	if len(s) <= maxLine {
		return s
	}
	end := maxLine - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
