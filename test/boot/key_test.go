package boot

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// Who is trusted is what lies in the initramfs: all of it can be read, or nothing
// is booted.
func TestKeys(t *testing.T) { runRows(t, keys) }

var keys = []row{
	{name: "a hundred, one of them the right one", initrd: manyKeys(99)},
	{name: "a hundred and one, one isn't a key", status: 2, says: "k042a.pub", initrd: append(manyKeys(99), entry{path: keysDir + "k042a.pub", content: "not a key\n"})},
	{name: "one is a directory", status: 2, says: "x.pub", initrd: []entry{{path: keysDir + "x.pub/"}}},
	{name: "one is a link that leads nowhere", status: 2, says: "x.pub", initrd: []entry{{path: keysDir + "x.pub", content: "nowhere", link: true}}},
	{name: "one is empty", status: 2, says: "x.pub", initrd: []entry{{path: keysDir + "x.pub"}}},
	{name: "one is zeroed, which anybody can sign for", status: 2, says: "x.pub", initrd: []entry{{path: keysDir + "x.pub", content: keyOf(0, make([]byte, 32))}}},
	{name: "one is of 1 MiB", status: 2, says: "x.pub", initrd: []entry{{path: keysDir + "x.pub", content: strings.Repeat("x", 1<<20)}}},
	{name: "too many", status: 2, says: "at most 256", initrd: manyKeys(256)},
	{name: "none, where a signature is required", keys: nobody, status: 2, says: "key", policy: "[verify]\nsignature = \"require\"\n"},
	{name: "none, where nothing is said", keys: nobody, change: withoutSeal, says: `"status":"not-required"`},
	{name: "none, where a minimum is set", keys: nobody, status: 2, says: "minimum-sequence, which is about seals", policy: "[verify]\nminimum-sequence = 1\n", change: withoutSeal},
	{name: "none, where images are revoked", keys: nobody, status: 2, says: "revoked, which is about seals", change: withoutSeal,
		initrd: []entry{{path: policyPath, template: "[verify]\nrevoked = [\"{other}\"]\n"}}},
	{name: "none, where images are revoked and no seal is asked for", keys: nobody, change: withoutSeal, says: `"status":"not-required"`,
		initrd: []entry{{path: policyPath, template: "[verify]\nsignature = \"off\"\nrevoked = [\"{other}\"]\n"}}},
	{name: "none in a directory that the policy names", keys: nobody, status: 2, says: "/keys", policy: "[verify]\nkeys = \"/keys\"\n"},
}

func nobody(base) []string { return []string{} }

// manyKeys are well-formed keys that nobody has the private half of.
func manyKeys(n int) (entries []entry) {
	for i := range n {
		point := make([]byte, 32)
		point[0], point[1] = byte(i), 77
		entries = append(entries, entry{path: fmt.Sprintf("%sk%03d.pub", keysDir, i), content: keyOf(byte(i+1), point)})
	}
	return entries
}

// keyOf is a public key as minisign has it: "Ed", eight bytes of number, the point.
func keyOf(number byte, point []byte) string {
	raw := append([]byte{'E', 'd', number, 0, 0, 0, 0, 0, 0, 0}, point...)
	return "untrusted comment: a key of the tests\n" + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// The policy fails closed: what isn't understood is no policy to boot by.
func TestPolicies(t *testing.T) { runRows(t, policies) }

var policies = []row{
	{name: "with a key that doesn't exist", status: 2, says: "line 2", initrd: policyText("[verify]\nsignatur = \"off\"\n")},
	{name: "with a value that doesn't exist", status: 2, says: "line 2", initrd: policyText("[verify]\nsignature = \"maybe\"\n")},
	{name: "with a section that doesn't exist", status: 2, says: "line 1", initrd: policyText("[verfy]\nsignature = \"off\"\n")},
	{name: "with a misspelt key of etc", status: 2, says: "line 2: [etc] mout: unknown key: did you mean mount?", initrd: policyText("[etc]\nmout = \"transient\"\n")},
	{name: "with a minimum for seals that aren't looked at", status: 2, says: "no seal is checked", initrd: policyText("[verify]\nsignature = \"off\"\nminimum-sequence = 1\n")},
	{name: "with a key twice", status: 2, says: "line 3", initrd: policyText("[verify]\nminimum-sequence = 1\nminimum-sequence = 0\n")},
	{name: "with a sequence below zero", status: 2, says: "line 2", initrd: policyText("[verify]\nminimum-sequence = -1\n")},
	{name: "with a digest in upper case", status: 2, says: "line 2", initrd: policyText("[verify]\nrevoked = [\"" + strings.Repeat("A", 64) + "\"]\n")},
	{name: "that is no text", status: 2, says: "setup-root-conf.toml", initrd: policyText("\x00\xff\x00")},
	{name: "of 1 MiB", status: 2, says: "setup-root-conf.toml", initrd: policyText(strings.Repeat("#\n", 1<<19))},
	{name: "that is a directory", status: 2, says: "setup-root-conf.toml", initrd: []entry{{path: policyPath + "/"}}},
	{name: "that is empty", initrd: policyText("")},
	{name: "of comments", initrd: policyText("# nothing\n")},
}

func policyText(text string) []entry { return []entry{{path: policyPath, content: text}} }
