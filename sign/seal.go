package sign

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/verity"
)

// ErrMalformed is the cause when a text is not a seal, a key or a signature.
var ErrMalformed = errors.New("malformed")

// MaxSealSize is the size of the longest seal in bytes.
const MaxSealSize = 4096

// header is the first line of a seal. A change to what a seal means, rather than
// to what it may say, needs another number.
const header = "composefs-seal 1\n"

// A Statement describes an image. Digest is required, and Sequence is always said, be it 0;
// the other fields are zero if the seal doesn't mention them.
type Statement struct {
	Digest    verity.Digest // of the image
	Format    string        // of the image: "erofs-v0", "erofs-v1" or "erofs-v2"
	Size      uint64        // of the image in bytes
	OSID      string        // ID of os-release
	OSVersion string        // VERSION_ID of os-release
	Sequence  uint64        // higher is newer
	Refs      []string      // for which it is valid, none for all; a boot by digest ignores them
}

func (s Statement) equal(o Statement) bool {
	return s.Digest == o.Digest && s.Format == o.Format && s.Size == o.Size && s.OSID == o.OSID &&
		s.OSVersion == o.OSVersion && s.Sequence == o.Sequence && slices.Equal(s.Refs, o.Refs)
}

// A Seal is a statement together with the text that is signed. It is never malformed:
// only NewSeal and ParseSeal make one. The zero value is no seal, and has no text.
type Seal struct {
	statement Statement
	text      string
}

// NewSeal returns the seal for a statement. The error is an ErrMalformed if the statement
// can't be expressed as a seal, for instance because a value has a line feed in it.
func NewSeal(s Statement) (Seal, error) {
	text := s.text()
	seal, err := ParseSeal(text)
	if err != nil {
		return Seal{}, err
	}
	// With a line feed in it, a value would say something else as well.
	if !seal.statement.equal(s) {
		return Seal{}, fmt.Errorf("%w seal: a value isn't what would be read from the text again, %.200q", ErrMalformed, text)
	}
	return seal, nil
}

// IsZero reports whether there is no seal.
func (s Seal) IsZero() bool { return s.text == "" }

// Statement returns what the seal says.
func (s Seal) Statement() Statement {
	said := s.statement
	said.Refs = slices.Clone(said.Refs)
	return said
}

// Text returns the text that is signed, as it was parsed or as NewSeal has made it.
func (s Seal) Text() []byte { return []byte(s.text) }

// A field is a key that a seal may have.
type field struct {
	key      string
	required bool
	repeated bool // it may have several values, each in a line of its own
	set      func(s *Statement, value string) error
}

var fields = []field{
	{"digest", true, false, func(s *Statement, v string) (err error) { s.Digest, err = verity.ParseDigest(v); return err }},
	{"format", false, false, func(s *Statement, v string) error { s.Format = v; return checkFormat(v) }},
	{"size", false, false, func(s *Statement, v string) (err error) { s.Size, err = parseNumber(v, 1); return err }},
	{"os-id", false, false, func(s *Statement, v string) error { s.OSID = v; return nil }},
	{"os-version", false, false, func(s *Statement, v string) error { s.OSVersion = v; return nil }},
	{"sequence", true, false, func(s *Statement, v string) (err error) { s.Sequence, err = parseNumber(v, 0); return err }},
	{"ref", false, true, addRef},
}

func addRef(s *Statement, v string) error {
	if err := CheckRef(v); err != nil {
		return err
	}
	if slices.Contains(s.Refs, v) {
		return fmt.Errorf("%q is here for the second time", v)
	}
	s.Refs = append(s.Refs, v)
	return nil
}

func checkFormat(v string) error {
	if v != "erofs-v0" && v != "erofs-v1" && v != "erofs-v2" {
		return fmt.Errorf("want erofs-v0, erofs-v1 or erofs-v2, found %q", v)
	}
	return nil
}

// parseNumber reads the one spelling of a number of 64 bits.
func parseNumber(v string, least uint64) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != v || n < least {
		return 0, fmt.Errorf("want a decimal number from %d to 2^64-1 without sign or leading zeros, found %q", least, v)
	}
	return n, nil
}

// text renders the statement. Its caller reads that again: a value may be anything.
func (s Statement) text() []byte {
	b := []byte(header)
	line := func(key, value string) {
		if value != "" {
			b = fmt.Appendf(b, "%s %s\n", key, value)
		}
	}
	if !s.Digest.IsZero() {
		line("digest", s.Digest.String())
	}
	line("format", s.Format)
	if s.Size != 0 {
		line("size", strconv.FormatUint(s.Size, 10))
	}
	line("os-id", s.OSID)
	line("os-version", s.OSVersion)
	line("sequence", strconv.FormatUint(s.Sequence, 10))
	for _, ref := range s.Refs {
		line("ref", ref)
	}
	return b
}

// ParseSeal reads a seal. It is strict: the text is to mean the same to everybody
// who looks at it, now and later. Keys that begin with x- are its author's own.
func ParseSeal(text []byte) (Seal, error) {
	var s Statement
	if err := parseSeal(&s, text); err != nil {
		return Seal{}, fmt.Errorf("%w seal: %w", ErrMalformed, err)
	}
	return Seal{s, string(text)}, nil
}

func parseSeal(s *Statement, text []byte) error {
	if len(text) > MaxSealSize {
		return fmt.Errorf("want at most %d bytes, found %d", MaxSealSize, len(text))
	}
	body, ok := bytes.CutPrefix(text, []byte(header))
	if !ok {
		return wrongHeader(text)
	}
	if body, ok = bytes.CutSuffix(body, []byte("\n")); !ok {
		return errors.New("want a line feed at the end: the text is empty or cut off")
	}
	seen := make(map[string]bool)
	for i, line := range strings.Split(string(body), "\n") {
		if err := s.parseLine(line, seen); err != nil {
			return fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	for _, f := range fields {
		if f.required && !seen[f.key] {
			return fmt.Errorf("want a line %q, found none", f.key+" …")
		}
	}
	return nil
}

func wrongHeader(text []byte) error {
	line, _, _ := strings.Cut(string(text), "\n")
	if strings.HasPrefix(line, "composefs-seal ") {
		return fmt.Errorf("line 1: want %q, found %.40q: it may be for a newer program, or have other line ends than LF",
			strings.TrimSuffix(header, "\n"), line)
	}
	return fmt.Errorf("line 1: want %q, found %.40q", strings.TrimSuffix(header, "\n"), line)
}

func (s *Statement) parseLine(line string, seen map[string]bool) error {
	if i := printable.Index(line); i >= 0 {
		return fmt.Errorf("want printable UTF-8, found %.8q at byte %d", line[i:], i)
	}
	key, value, _ := strings.Cut(line, " ")
	if key == "" || value == "" || strings.TrimSpace(value) != value {
		return fmt.Errorf("want KEY VALUE with one space between, found %.40q", line)
	}
	again := seen[key]
	seen[key] = true
	for _, f := range fields {
		if f.key != key || again && !f.repeated {
			continue
		}
		if err := f.set(s, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	if again {
		return fmt.Errorf("key %.40q is here for the second time", key)
	}
	if strings.HasPrefix(key, "x-") {
		return nil
	}
	return fmt.Errorf("unknown key %.40q: keys of one's own begin with x-", key)
}
