package bootcfg

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Keys of a Boot Loader Specification entry of type 1. Other keys are kept unchanged.
const (
	EntryTitle        = "title"
	EntryVersion      = "version"
	EntryMachineID    = "machine-id"
	EntrySortKey      = "sort-key"
	EntryLinux        = "linux"
	EntryInitrd       = "initrd" // may repeat
	EntryEFI          = "efi"
	EntryUKI          = "uki"
	EntryOptions      = "options" // may repeat; joined with spaces
	EntryDevicetree   = "devicetree"
	EntryArchitecture = "architecture"
)

// maxEntry bounds the size in bytes of what ParseEntry reads.
const maxEntry = 1 << 20

// ErrEntry is the cause when a text is not a boot loader entry.
var ErrEntry = errors.New("malformed boot loader entry")

// A Field is a line of an entry. A comment or empty line has no Key, and its whole text
// is the Value.
type Field struct{ Key, Value string }

// An Entry is a boot loader entry of type 1: a text file of "key value" lines in
// loader/entries of the boot partition. Parsing and formatting an entry keeps unknown
// keys, comments and the order. The zero value is an empty entry.
//
// Format: the Boot Loader Specification of the UAPI group, "Type #1".
type Entry struct{ Fields []Field }

// ParseEntry reads an entry, of at most 1 MiB of UTF-8 text. Anything else is an ErrEntry.
func ParseEntry(r io.Reader) (Entry, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxEntry+1))
	if err != nil {
		return Entry{}, fmt.Errorf("read boot loader entry: %w", err)
	}
	if len(text) > maxEntry {
		return Entry{}, fmt.Errorf("%w: want at most %d bytes", ErrEntry, maxEntry)
	}
	var e Entry
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.Trim(line, " \t\r\n")
		if i := strings.IndexFunc(line, notText); i >= 0 {
			return Entry{}, fmt.Errorf("%w: line %d: want UTF-8 text, found %q", ErrEntry, n, line[i:i+1])
		}
		e.Fields = append(e.Fields, parseField(line))
	}
	return e, nil
}

// parseField splits a line, which has no space around it, at its first space.
func parseField(line string) Field {
	if line == "" || line[0] == '#' {
		return Field{Value: line}
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return Field{Key: line}
	}
	return Field{Key: line[:i], Value: strings.TrimLeft(line[i:], " \t")}
}

// notText reports what can't be in a line: control characters but the tab.
func notText(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError }

// Format returns the text of the entry. A field that doesn't fit on a line is an error.
func (e Entry) Format() ([]byte, error) {
	var out []byte
	for _, f := range e.Fields {
		line := f.Value
		if f.Key != "" {
			line = strings.TrimRight(f.Key+" "+f.Value, " ")
		}
		if strings.ContainsFunc(line, notText) || parseField(line) != f {
			return nil, fmt.Errorf("%w: the value %q of key %q does not fit on a line", ErrEntry, f.Value, f.Key)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// Get returns the value of the last field with the key, which is the one that
// counts, and whether there is one.
func (e Entry) Get(key string) (value string, ok bool) {
	for _, f := range e.Fields {
		if f.Key == key {
			value, ok = f.Value, true
		}
	}
	return value, ok && key != ""
}

// All returns the values of all fields with the key, in order.
func (e Entry) All(key string) (values []string) {
	for _, f := range e.Fields {
		if f.Key == key && key != "" {
			values = append(values, f.Value)
		}
	}
	return values
}

// Options returns the kernel command line: the values of all options fields, joined
// with spaces.
func (e Entry) Options() string { return strings.Join(e.All(EntryOptions), " ") }

// Set gives the key these values, one field each, in place of its first field or else
// at the end. Without values it removes the key.
func (e *Entry) Set(key string, values ...string) {
	at := slices.IndexFunc(e.Fields, func(f Field) bool { return f.Key == key })
	if at < 0 {
		at = len(e.Fields)
	}
	fields := make([]Field, len(values))
	for i, v := range values {
		fields[i] = Field{Key: key, Value: v}
	}
	before := slices.Clone(e.Fields[:at])
	after := slices.DeleteFunc(slices.Clone(e.Fields[at:]), func(f Field) bool { return f.Key == key })
	e.Fields = slices.Concat(before, fields, after)
}
