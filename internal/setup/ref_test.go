package setup

import (
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
)

func TestParseRefTakesOneFormOnly(t *testing.T) {
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
		d, err := parseRef(c.ref, c.link)
		if (err == nil) != c.ok || c.ok && !strings.HasSuffix(c.link, "/"+d.Hex()) {
			t.Errorf("%s: %s -> %s: %s, %v", c.name, c.ref, c.link, d, err)
		}
	}
}

// Whatever a link says, it is refused or is the one text that names this image.
func FuzzParseRef(f *testing.F) {
	f.Add("os", "../"+hexA)
	f.Add("os/stable", "../../"+hexA+hexB)
	f.Add("os", "../../objects/"+hexA)
	f.Fuzz(func(t *testing.T, name, link string) {
		if _, err := bootcfg.ParseCmdline("composefs.ref=" + name); err != nil {
			return // is never asked for
		}
		d, err := parseRef(name, link)
		if err == nil && link != strings.Repeat("../", 1+strings.Count(name, "/"))+d.Hex() {
			t.Fatalf("%q -> %q is taken for %s", name, link, d)
		}
	})
}
