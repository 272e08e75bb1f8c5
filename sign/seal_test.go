package sign_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

const (
	digest256 = "fsverity-sha256-12:0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100"
	smallest  = "composefs-seal 1\ndigest " + digest256 + "\nsequence 42\n"
)

func mustDigest(t testing.TB, s string) verity.Digest {
	t.Helper()
	d, err := verity.ParseDigest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSealText(t *testing.T) {
	full := sign.Statement{
		Digest:    mustDigest(t, digest256),
		Format:    "erofs-v1",
		Size:      1441792,
		OSID:      "debian",
		OSVersion: "13",
		Sequence:  42,
	}
	forRefs := sign.Statement{Digest: full.Digest, OSID: "debian", Sequence: 42, Refs: []string{"debian/stable", "debian/13"}}
	sha512 := sign.Statement{Digest: verity.Sum(verity.SHA512, nil), Sequence: math.MaxUint64, OSVersion: "13 (Käse)"}
	for _, test := range []struct {
		name string
		says sign.Statement
		text string
	}{
		{"full", full, "composefs-seal 1\ndigest " + digest256 +
			"\nformat erofs-v1\nsize 1441792\nos-id debian\nos-version 13\nsequence 42\n"},
		{"smallest", sign.Statement{Digest: full.Digest, Sequence: 42}, smallest},
		{"sequence 0", sign.Statement{Digest: full.Digest}, strings.Replace(smallest, "42", "0", 1)},
		{"for two refs", forRefs, "composefs-seal 1\ndigest " + digest256 + "\nos-id debian\nsequence 42\nref debian/stable\nref debian/13\n"},
		{"sha512, largest sequence, space in a value", sha512, "composefs-seal 1\ndigest " + sha512.Digest.String() +
			"\nos-version 13 (Käse)\nsequence 18446744073709551615\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			made, err := sign.NewSeal(test.says)
			if err != nil || string(made.Text()) != test.text {
				t.Errorf("text: found %q, %v, want %q", made.Text(), err, test.text)
			}
			s, err := sign.ParseSeal([]byte(test.text))
			if err != nil || !reflect.DeepEqual(s, made) || !reflect.DeepEqual(s.Statement(), test.says) {
				t.Errorf("parsed: found %+v, %v; want %+v", s.Statement(), err, test.says)
			}
		})
	}
}

func TestSealIgnoresForeignKeysAndOrder(t *testing.T) {
	text := "composefs-seal 1\nx-build https://example.org/7\nsequence 42\nx-note a b  c\ndigest " + digest256 + "\n"
	s, err := sign.ParseSeal([]byte(text))
	if said := s.Statement(); err != nil || said.Digest.String() != digest256 || said.Sequence != 42 || string(s.Text()) != text {
		t.Errorf("found %+v, %v", s, err)
	}
}

func TestMalformedSeals(t *testing.T) {
	with := func(line string) string { return smallest + line + "\n" }
	for _, test := range []struct{ name, text, message string }{
		{"empty", "", `line 1: want "composefs-seal 1", found ""`},
		{"something else", "#!/bin/sh\n", `line 1: want "composefs-seal 1", found "#!/bin/sh"`},
		{"other version", strings.Replace(smallest, "seal 1", "seal 2", 1), `found "composefs-seal 2": it may be for a newer program`},
		{"CRLF", strings.ReplaceAll(smallest, "\n", "\r\n"), `found "composefs-seal 1\r": it may be for a newer program, or have other line ends than LF`},
		{"leading space", " " + smallest, `line 1: want`},
		{"byte order mark", "\ufeff" + smallest, `line 1: want`},
		{"header alone", "composefs-seal 1\n", "want a line feed at the end: the text is empty or cut off"},
		{"no line feed at the end", strings.TrimSuffix(smallest, "\n"), "want a line feed at the end"},
		{"empty line", with(""), `line 4: want KEY VALUE`},
		{"no digest", "composefs-seal 1\nsequence 1\n", `want a line "digest …", found none`},
		{"no sequence", "composefs-seal 1\ndigest " + digest256 + "\n", `want a line "sequence …", found none`},
		{"duplicate", with("sequence 42"), `line 4: key "sequence" is here for the second time`},
		{"duplicate of a foreign key", with("x-a b\nx-a b"), `line 5: key "x-a" is here for the second time`},
		{"a ref for the second time", with("ref a\nref b\nref a"), `line 6: ref: "a" is here for the second time`},
		{"two refs in a line", with("ref a b"), `line 4: ref: invalid ref name "a b": want letters`},
		{"a ref that can't be booted by", with("ref a/../b"), `line 4: ref: invalid ref name "a/../b"`},
		{"a ref without a name", with("ref"), "line 4: want KEY VALUE"},
		{"unknown key", with("valid-until 2030"), `line 4: unknown key "valid-until": keys of one's own begin with x-`},
		{"upper-case key", with("Size 1"), `line 4: unknown key "Size"`},
		{"key without value", with("size"), `line 4: want KEY VALUE`},
		{"key with an empty value", with("size "), `line 4: want KEY VALUE`},
		{"two spaces", with("size  1"), `line 4: want KEY VALUE with one space between, found "size  1"`},
		{"space at the end", with("size 1 "), `line 4: want KEY VALUE`},
		{"space in front", with(" size 1"), `line 4: want KEY VALUE`},
		{"tab", with("size\t1"), `line 4: want printable UTF-8, found "\t1" at byte 4`},
		{"carriage return", with("size 1\r"), `line 4: want printable UTF-8, found "\r" at byte 6`},
		{"NUL", with("os-id a\x00"), `line 4: want printable UTF-8, found "\x00"`},
		{"escape", with("os-id \x1b[2J"), `line 4: want printable UTF-8, found "\x1b[2J"`},
		{"not UTF-8", with("os-id \xff"), `line 4: want printable UTF-8, found "\xff" at byte 6`},
		{"right-to-left override", with("os-id \u202eabc"), `line 4: want printable UTF-8`},
		{"no-break space", with("os-id\u00a0a"), `line 4: want printable UTF-8`},
		{"digest without algorithm", "composefs-seal 1\ndigest 0f0e\nsequence 1\n", "line 2: digest: malformed digest: want ALGORITHM:HEX"},
		{"digest in upper case", strings.Replace(smallest, "ffee", "FFEE", 1), "line 2: digest: malformed digest: want lower-case hex"},
		{"unknown algorithm", strings.Replace(smallest, "sha256", "sha3", 1), "line 2: digest: unknown fs-verity algorithm"},
		{"unknown format", with("format squashfs"), `line 4: format: want erofs-v0, erofs-v1 or erofs-v2, found "squashfs"`},
		{"size 0", with("size 0"), `line 4: size: want a decimal number from 1`},
		{"negative number", strings.Replace(smallest, "42", "-1", 1), `line 3: sequence: want a decimal number`},
		{"plus sign", strings.Replace(smallest, "42", "+42", 1), `found "+42"`},
		{"leading zero", strings.Replace(smallest, "42", "042", 1), `without sign or leading zeros, found "042"`},
		{"hexadecimal", strings.Replace(smallest, "42", "0x2a", 1), `found "0x2a"`},
		{"underscore", strings.Replace(smallest, "42", "4_2", 1), `found "4_2"`},
		{"too large a number", strings.Replace(smallest, "42", "18446744073709551616", 1), `to 2^64-1`},
		{"too long", with("x-long " + strings.Repeat("a", 4096)), "want at most 4096 bytes, found "},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := sign.ParseSeal([]byte(test.text))
			if !errors.Is(err, sign.ErrMalformed) || !s.IsZero() || len(s.Text()) != 0 {
				t.Fatalf("found %+v, %v; want ErrMalformed and no seal", s, err)
			}
			if !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %q, want one line that says %q", err, test.message)
			}
		})
	}
}

func TestLongestSeal(t *testing.T) {
	text := smallest + "x-pad "
	text += strings.Repeat("a", sign.MaxSealSize-len(text)-1) + "\n"
	if _, err := sign.ParseSeal([]byte(text)); err != nil {
		t.Error(err)
	}
}

// What can't be said in a seal is refused, instead of saying something else in it.
func TestAStatementThatDoesntFitIntoASeal(t *testing.T) {
	good := sign.Statement{Digest: mustDigest(t, digest256), Sequence: 1}
	for name, spoil := range map[string]func(s *sign.Statement){
		"no digest":                         func(s *sign.Statement) { s.Digest = verity.Digest{} },
		"another sequence behind a value":   func(s *sign.Statement) { s.OSID = "a\nsequence 99" },
		"a key of one's own behind a value": func(s *sign.Statement) { s.OSID = "a\nx-evil b" },
		"the next value behind a value":     func(s *sign.Statement) { s.OSID = "a\nos-version 13" },
		"a ref behind a value":              func(s *sign.Statement) { s.OSVersion = "13\nref a" },
		"a line feed at the end":            func(s *sign.Statement) { s.OSID = "a\n" },
		"a line feed alone":                 func(s *sign.Statement) { s.OSVersion = "\n" },
		"a space in front":                  func(s *sign.Statement) { s.OSID = " a" },
		"a control character":               func(s *sign.Statement) { s.OSID = "a\x1b" },
		"an unknown format":                 func(s *sign.Statement) { s.Format = "ext4" },
		"a format with a line behind":       func(s *sign.Statement) { s.Format = "erofs-v1\nx-evil b" },
		"two refs in one":                   func(s *sign.Statement) { s.Refs = []string{"a\nref b"} },
		"a ref that is two lines":           func(s *sign.Statement) { s.Refs = []string{"a\nb"} },
		"a ref twice":                       func(s *sign.Statement) { s.Refs = []string{"a", "a"} },
		"a ref with a space":                func(s *sign.Statement) { s.Refs = []string{"a b"} },
		"an empty ref":                      func(s *sign.Statement) { s.Refs = []string{""} },
		"an empty ref after another":        func(s *sign.Statement) { s.Refs = []string{"a", ""} },
		"too long":                          func(s *sign.Statement) { s.OSID = strings.Repeat("a", sign.MaxSealSize) },
	} {
		s := good
		spoil(&s)
		if seal, err := sign.NewSeal(s); !errors.Is(err, sign.ErrMalformed) || !seal.IsZero() {
			t.Errorf("%s: found %q, %v; want ErrMalformed", name, seal.Text(), err)
		}
	}
	if _, err := sign.NewSeal(good); err != nil {
		t.Error(err)
	}
}

// Whatever the values are, the seal says them and nothing else, or there is none.
func FuzzNewSeal(f *testing.F) {
	f.Add("debian", "13", "erofs-v1", "debian/13", uint64(1), uint64(4096))
	f.Add("a\nx-evil b", "", "", "", uint64(0), uint64(0))
	f.Add("a\nos-version 13", "", "", "a\nb", uint64(7), uint64(0))
	f.Fuzz(func(t *testing.T, osID, osVersion, format, ref string, sequence, size uint64) {
		said := sign.Statement{Digest: mustDigest(t, digest256), Format: format, Size: size, OSID: osID, OSVersion: osVersion, Sequence: sequence}
		if ref != "" {
			said.Refs = []string{ref}
		}
		seal, err := sign.NewSeal(said)
		if err != nil {
			return
		}
		again, err := sign.ParseSeal(seal.Text())
		if err != nil || !reflect.DeepEqual(again.Statement(), said) || strings.Contains(string(seal.Text()), "\nx-") {
			t.Errorf("%+v becomes %q, which says %+v, %v", said, seal.Text(), again.Statement(), err)
		}
	})
}

func FuzzParseSeal(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte(smallest + "format erofs-v1\nsize 1441792\nos-id debian\nos-version 13\nx-a b\n"))
	f.Add([]byte(smallest + "ref a/b\nref c\n"))
	f.Add([]byte("composefs-seal 1\n"))
	f.Add([]byte("composefs-seal 1\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := sign.ParseSeal(text)
		if err != nil {
			return
		}
		if string(s.Text()) != string(text) {
			t.Errorf("%q becomes %q", text, s.Text())
		}
		again, err := sign.NewSeal(s.Statement())
		if err != nil || !reflect.DeepEqual(again.Statement(), s.Statement()) {
			t.Errorf("%q is %+v, whose text %q is %+v, %v", text, s.Statement(), again.Text(), again.Statement(), err)
		}
		if lines := strings.Count(string(text), "\n"); lines < strings.Count(string(again.Text()), "\n") {
			t.Errorf("%q says less than %q", text, again.Text())
		}
	})
}
