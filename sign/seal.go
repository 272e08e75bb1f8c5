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

// A Seal says what an image is. Digest and Sequence are always there; the others
// are zero if the seal is silent about them.
type Seal struct {
	Digest    verity.Digest // of the image
	Format    string        // of the image: "erofs-v0", "erofs-v1" or "erofs-v2"
	Size      uint64        // of the image in bytes
	OSID      string        // ID of os-release
	OSVersion string        // VERSION_ID of os-release
	Sequence  uint64        // higher is newer
	Refs      Refs          // that it is for; a boot by the digest is free of them
}

// Refs are names of refs with spaces between them, which no name has.
type Refs string

// List returns the names, in their order.
func (r Refs) List() []string { return strings.Fields(string(r)) }

// field is a key that a seal may have. get returns "" for a value that is absent.
type field struct {
	key      string
	required bool
	set      func(s *Seal, value string) error
	get      func(s Seal) string
	repeated bool // get returns several values, with spaces between them
}

// fields are in the order in which Text writes them.
var fields = []field{
	{"digest", true,
		func(s *Seal, v string) (err error) { s.Digest, err = verity.ParseDigest(v); return err },
		func(s Seal) string {
			if s.Digest.IsZero() {
				return ""
			}
			return s.Digest.String()
		}, false},
	{"format", false,
		func(s *Seal, v string) error { s.Format = v; return checkFormat(v) },
		func(s Seal) string { return s.Format }, false},
	{"size", false,
		func(s *Seal, v string) (err error) { s.Size, err = parseNumber(v, 1); return err },
		func(s Seal) string {
			if s.Size == 0 {
				return ""
			}
			return strconv.FormatUint(s.Size, 10)
		}, false},
	{"os-id", false,
		func(s *Seal, v string) error { s.OSID = v; return nil },
		func(s Seal) string { return s.OSID }, false},
	{"os-version", false,
		func(s *Seal, v string) error { s.OSVersion = v; return nil },
		func(s Seal) string { return s.OSVersion }, false},
	{"sequence", true,
		func(s *Seal, v string) (err error) { s.Sequence, err = parseNumber(v, 0); return err },
		func(s Seal) string { return strconv.FormatUint(s.Sequence, 10) }, false},
	{"ref", false, addRef,
		func(s Seal) string { return string(s.Refs) }, true},
}

func addRef(s *Seal, v string) error {
	if err := CheckRef(v); err != nil {
		return err
	}
	if slices.Contains(s.Refs.List(), v) {
		return fmt.Errorf("%q is here for the second time", v)
	}
	s.Refs = Refs(strings.TrimPrefix(string(s.Refs)+" "+v, " "))
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

// Text returns the seal as text, in the one form that it has. ParseSeal tells
// whether what was put into the fields makes a seal.
func (s Seal) Text() []byte {
	b := []byte(header)
	for _, f := range fields {
		v := f.get(s)
		if f.repeated {
			v = strings.ReplaceAll(v, " ", "\n"+f.key+" ")
		}
		if v != "" {
			b = fmt.Appendf(b, "%s %s\n", f.key, v)
		}
	}
	return b
}

// ParseSeal reads a seal. It is strict: the text is to mean the same to everybody
// who looks at it, now and later.
func ParseSeal(text []byte) (Seal, error) {
	var s Seal
	if err := parseSeal(&s, text); err != nil {
		return Seal{}, fmt.Errorf("%w seal: %w", ErrMalformed, err)
	}
	return s, nil
}

func parseSeal(s *Seal, text []byte) error {
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

func (s *Seal) parseLine(line string, seen map[string]bool) error {
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
