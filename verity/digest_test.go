package verity_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/verity"
)

var (
	hex32 = strings.Repeat("0f", 32)
	hex64 = strings.Repeat("e1", 64)
)

func TestParseDigest(t *testing.T) {
	for _, test := range []struct {
		name, text string
		cause      error
		message    string
	}{
		{"sha256", "fsverity-sha256-12:" + hex32, nil, ""},
		{"sha512", "fsverity-sha512-12:" + hex64, nil, ""},
		{"empty", "", verity.ErrDigest, "want ALGORITHM:HEX"},
		{"no algorithm", hex32, verity.ErrDigest, "want ALGORITHM:HEX"},
		{"bare hash name", "sha256:" + hex32, verity.ErrDigest, "want ALGORITHM:HEX"},
		{"other block size", "fsverity-sha256-16:" + hex32, verity.ErrAlgorithm, "fsverity-sha256-16"},
		{"upper case", "fsverity-sha256-12:" + strings.ToUpper(hex32), verity.ErrDigest, `found "F" at position 1`},
		{"short", "fsverity-sha256-12:" + hex32[2:], verity.ErrDigest, "want 64 hex digits"},
		{"long", "fsverity-sha256-12:" + hex32 + "00", verity.ErrDigest, "found 66"},
		{"of the other length", "fsverity-sha512-12:" + hex32, verity.ErrDigest, "want 128 hex digits"},
		{"not hex", "fsverity-sha256-12:" + hex32[:63] + "g", verity.ErrDigest, `found "g" at position 63`},
		{"line feed", "fsverity-sha256-12:" + hex32[:63] + "\n", verity.ErrDigest, "position 63"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := verity.ParseDigest(test.text)
			if !errors.Is(err, test.cause) {
				t.Fatalf("found %v, want %v", err, test.cause)
			}
			if err == nil && d.String() != test.text {
				t.Errorf("found %s, want %s", d, test.text)
			}
			if err != nil && !strings.Contains(err.Error(), test.message) {
				t.Errorf("found %q, want it to say %q", err, test.message)
			}
		})
	}
}

func TestDigestForms(t *testing.T) {
	for _, test := range []struct{ hex, path string }{
		{hex32, "0f/" + hex32[2:]},
		{hex64, "e1/" + hex64[2:]},
	} {
		d, err := verity.ParseAnyHex(test.hex)
		if err != nil || d.Hex() != test.hex || d.ObjectPath() != test.path {
			t.Errorf("found %s at %s, %v; want %s at %s", d, d.ObjectPath(), err, test.hex, test.path)
		}
		if e, err := verity.ParseObjectPath(test.path); err != nil || e != d {
			t.Errorf("%s: found %s, %v", test.path, e, err)
		}
		if e, err := verity.NewDigest(d.Algorithm(), d.Bytes()); err != nil || e != d {
			t.Errorf("of its bytes: found %s, %v", e, err)
		}
	}
	for _, path := range []string{"", "0f", "0f/", "0f" + hex32, "0/f" + hex32[2:], "0f/" + hex32, "0F/" + hex32[2:]} {
		if d, err := verity.ParseObjectPath(path); !errors.Is(err, verity.ErrDigest) {
			t.Errorf("object path %q: found %s, %v; want ErrDigest", path, d, err)
		}
	}
}

func TestZeroDigestIsNone(t *testing.T) {
	var d verity.Digest
	if !d.IsZero() || d.String() != "none" || d.Hex() != "" || d.ObjectPath() != "" || d.Bytes() != nil {
		t.Errorf("found %q %q %q %v", d.String(), d.Hex(), d.ObjectPath(), d.Bytes())
	}
	if b, err := d.MarshalText(); err != nil || len(b) != 0 {
		t.Errorf("marshals to %q, %v", b, err)
	}
}

func TestNewDigestRefusesOtherLengths(t *testing.T) {
	if _, err := verity.NewDigest(verity.SHA256, make([]byte, 31)); !errors.Is(err, verity.ErrDigest) {
		t.Errorf("31 bytes: found %v", err)
	}
	if _, err := verity.NewDigest(0, nil); !errors.Is(err, verity.ErrAlgorithm) {
		t.Errorf("algorithm 0: found %v", err)
	}
}

func TestDigestsSortByAlgorithmThenValue(t *testing.T) {
	var sorted []verity.Digest
	for _, s := range []string{strings.Repeat("00", 32), hex32, strings.Repeat("00", 64), hex64} {
		d, err := verity.ParseAnyHex(s)
		if err != nil {
			t.Fatal(err)
		}
		sorted = append(sorted, d)
	}
	have := []verity.Digest{sorted[2], sorted[1], sorted[3], sorted[0]}
	slices.SortFunc(have, verity.Digest.Compare)
	if !slices.Equal(have, sorted) {
		t.Errorf("found %v, want %v", have, sorted)
	}
}

func TestDigestInJSON(t *testing.T) {
	type record struct{ D, None verity.Digest }
	in := record{D: verity.Sum(verity.SHA512, nil)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out record
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("%s: found %v, %v", text, out, err)
	}
	if err := json.Unmarshal([]byte(`{"D":"sha256:00"}`), &out); !errors.Is(err, verity.ErrDigest) {
		t.Errorf("malformed: found %v, want ErrDigest", err)
	}
}

func TestAlgorithmNames(t *testing.T) {
	for _, alg := range algorithms {
		for _, name := range []string{alg.String(), alg.Hash()} {
			if a, err := verity.ParseAlgorithm(name); err != nil || a != alg {
				t.Errorf("%s: found %s, %v", name, a, err)
			}
		}
	}
	for _, name := range []string{"", "sha1", "SHA256", "fsverity-sha256-10", "unknown-0"} {
		if a, err := verity.ParseAlgorithm(name); !errors.Is(err, verity.ErrAlgorithm) {
			t.Errorf("%q: found %s, %v; want ErrAlgorithm", name, a, err)
		}
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add("fsverity-sha256-12:" + hex32)
	f.Add("fsverity-sha512-12:" + hex64)
	f.Add("fsverity-sha256-12:" + strings.Repeat("0F", 32))
	f.Add("none")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := verity.ParseDigest(text)
		if err != nil {
			if !d.IsZero() {
				t.Errorf("%q: an error, and yet the digest %s", text, d)
			}
			return
		}
		if d.String() != text {
			t.Errorf("%q is read as %s: a digest must have one spelling", text, d)
		}
		if e, err := verity.ParseObjectPath(d.ObjectPath()); err != nil || e != d {
			t.Errorf("object path %s: found %s, %v", d.ObjectPath(), e, err)
		}
	})
}
