package boot

import (
	"strings"
	"testing"
)

// Whatever is damaged or left out, the machine says what and why, with the exit
// status that the manual promises, and never gets as far as init.
func TestRefused(t *testing.T) { runRows(t, refusals) }

// refusals are the plain cases: the good twin of each is TestGood.
var refusals = []row{
	{name: "wrong digest on the command line", status: 4, says: "not",
		arguments: func(b base) string { return pin(strings.Repeat("0", 63) + "1") }},
	{name: "no composefs argument", status: 3, says: "composefs",
		arguments: func(base) string { return "" }},
	{name: "insecure argument that the policy forbids", status: 2, says: "allow-insecure",
		arguments: func(b base) string { return "composefs=?" + b.image }},

	{name: "image byte flipped", status: 5, says: "image",
		change: func(t *testing.T, b base, disk string) { flip(t, b, disk, b.image) }},
	{name: "image replaced by another valid image", status: 5, says: "digest",
		change: replaceObject(theImage, theOther)},
	{name: "image without fs-verity", status: 5, says: "fs-verity",
		change: withoutVerity(theImage)},

	{name: "init's object flipped", status: 9, says: "init",
		change: func(t *testing.T, b base, disk string) { flip(t, b, disk, b.init) }},
	{name: "init's object replaced", status: 9, says: "init",
		change: replaceObject(theInit, theReplacement)},
	{name: "init's object without fs-verity", status: 9, says: "init",
		change: withoutVerity(theInit)},
	{name: "init's object missing", status: 9, says: "init",
		change: func(t *testing.T, b base, disk string) { debugfs(t, disk, "unlink "+object(b.init)) }},

	{name: "no seal", status: 6, says: "seal", change: withoutSeal},
	{name: "seal without its signature", status: 6, says: "signature",
		change: func(t *testing.T, b base, disk string) { debugfs(t, disk, "unlink "+seal(b.image, ".minisig")) }},
	{name: "seal by another key", status: 6, says: "key", change: sealByAnotherKey},
	{name: "truncated signature", status: 6, says: "signature",
		change: func(t *testing.T, b base, disk string) {
			whole := stored(t, b, seal(b.image, ".minisig"))
			write(t, disk, seal(b.image, ".minisig"), whole[:len(whole)/2])
		}},
	{name: "seal changed after signing", status: 6, says: "signature",
		change: func(t *testing.T, b base, disk string) {
			text := strings.Replace(string(stored(t, b, seal(b.image, ""))), "sequence 1\n", "sequence 9\n", 1)
			write(t, disk, seal(b.image, ""), []byte(text))
		}},
	{name: "root device missing", status: 8, says: "nowhere",
		arguments: func(b base) string { return "root=PARTLABEL=nowhere rootwait=5 " + pin(b.image) }},
}
