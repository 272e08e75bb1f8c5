package sign_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/sign"
)

var (
	hexA = strings.Repeat("0a", 32)
	hexB = strings.Repeat("0b", 32)
)

// A name that is accepted is one word of the kernel command line, and of a seal.
func TestCheckRef(t *testing.T) {
	for _, c := range []struct {
		name string
		want string // of the error
	}{
		{"os", ""}, {"debian/13", ""}, {"a.b_c-d+e@f:g", ""}, {strings.Repeat("a", 255), ""}, {".hidden", ""}, {"...", ""},
		{"", "want 1 to 255 bytes, found 0"}, {strings.Repeat("a", 256), "want 1 to 255 bytes, found 256"},
		{"a b", `found " " at byte 1`}, {"a=b", `found "=" at byte 1`}, {"a\"b", `found "\""`}, {"ä", `found "ä" at byte 0`}, {"a\xffb", `found "\xff" at byte 1`}, {"a\x00", `found "\x00"`}, {"a\n", `found "\n"`},
		{".", "without . and .."}, {"a/../b", "without . and .."}, {"/a", "single slashes"}, {"a/", "single slashes"}, {"a//b", "single slashes"},
	} {
		err := sign.CheckRef(c.name)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, sign.ErrRef) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.20q: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseRefLinkTakesOneFormOnly(t *testing.T) {
	for _, c := range []struct {
		name, ref, link string
		ok              bool
	}{
		{"at the top", "os", "../" + hexA, true},
		{"with sha512", "os", "../" + hexA + hexB, true},
		{"in a directory", "os/stable", "../../" + hexA, true},
		{"in a directory, one step short", "os/stable", "../" + hexA, false},
		{"one step too far", "os", "../../" + hexA, false},
		{"nothing", "os", "", false},
		{"only the steps", "os", "../", false},
		{"no steps", "os", hexA, false},
		{"an absolute path", "os", "/composefs/images/" + hexA, false},
		{"to the object", "os", "../../objects/" + hexA[:2] + "/" + hexA[2:], false},
		{"to another ref", "os", "other", false},
		{"upper case", "os", "../" + strings.ToUpper(hexA), false},
		{"short", "os", "../" + hexA[1:], false},
		{"with more behind", "os", "../" + hexA + "/", false},
		{"by a detour", "os", ".././" + hexA, false},
	} {
		d, err := sign.ParseRefLink(c.ref, c.link)
		if (err == nil) != c.ok || c.ok && !strings.HasSuffix(c.link, "/"+d.Hex()) {
			t.Errorf("%s: %s -> %s: %s, %v", c.name, c.ref, c.link, d, err)
		}
	}
}

// Whatever a link says, it is refused or is the one text that names this image.
func FuzzParseRefLink(f *testing.F) {
	f.Add("os", "../"+hexA)
	f.Add("os/stable", "../../"+hexA+hexB)
	f.Add("os", "../../objects/"+hexA)
	f.Fuzz(func(t *testing.T, name, link string) {
		if sign.CheckRef(name) != nil {
			return // is never asked for
		}
		d, err := sign.ParseRefLink(name, link)
		if err == nil && link != strings.Repeat("../", 1+strings.Count(name, "/"))+d.Hex() {
			t.Fatalf("%q -> %q is taken for %s", name, link, d)
		}
	})
}
