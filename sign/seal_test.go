package sign_test

import (
	"errors"
	"math"
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
	full := sign.Seal{
		Digest:    mustDigest(t, digest256),
		Format:    "erofs-v1",
		Size:      1441792,
		OSID:      "debian",
		OSVersion: "13",
		Sequence:  42,
	}
	forRefs := sign.Seal{Digest: full.Digest, OSID: "debian", Sequence: 42, Refs: "debian/stable debian/13"}
	sha512 := sign.Seal{Digest: verity.Sum(verity.SHA512, nil), Sequence: math.MaxUint64, OSVersion: "13 (Käse)"}
	for _, test := range []struct {
		name string
		seal sign.Seal
		text string
	}{
		{"full", full, "composefs-seal 1\ndigest " + digest256 +
			"\nformat erofs-v1\nsize 1441792\nos-id debian\nos-version 13\nsequence 42\n"},
		{"smallest", sign.Seal{Digest: full.Digest, Sequence: 42}, smallest},
		{"sequence 0", sign.Seal{Digest: full.Digest}, strings.Replace(smallest, "42", "0", 1)},
		{"for two refs", forRefs, "composefs-seal 1\ndigest " + digest256 + "\nos-id debian\nsequence 42\nref debian/stable\nref debian/13\n"},
		{"sha512, largest sequence, space in a value", sha512, "composefs-seal 1\ndigest " + sha512.Digest.String() +
			"\nos-version 13 (Käse)\nsequence 18446744073709551615\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if text := string(test.seal.Text()); text != test.text {
				t.Errorf("text: found %q, want %q", text, test.text)
			}
			if s, err := sign.ParseSeal([]byte(test.text)); err != nil || s != test.seal {
				t.Errorf("parsed: found %+v, %v; want %+v", s, err, test.seal)
			}
		})
	}
}

func TestSealIgnoresForeignKeysAndOrder(t *testing.T) {
	s, err := sign.ParseSeal([]byte("composefs-seal 1\nx-build https://example.org/7\nsequence 42\nx-note a b  c\ndigest " + digest256 + "\n"))
	if err != nil || s.Digest.String() != digest256 || s.Sequence != 42 {
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
			if !errors.Is(err, sign.ErrMalformed) || s != (sign.Seal{}) {
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
		again, err := sign.ParseSeal(s.Text())
		if err != nil || again != s {
			t.Errorf("%q is %+v, whose text %q is %+v, %v", text, s, s.Text(), again, err)
		}
		if lines := strings.Count(string(text), "\n"); lines < strings.Count(string(s.Text()), "\n") {
			t.Errorf("%q says less than %q", text, s.Text())
		}
	})
}
