package boot

import (
	"strings"
	"testing"
)

// The command line is somebody else's unless a UKI holds it: it may choose among
// images that pass, and nothing else.
func TestArguments(t *testing.T) { runRows(t, arguments) }

var arguments = []row{
	{name: "hex in upper case", status: 2, says: "malformed kernel command line",
		arguments: func(b base) string { return pin(strings.ToUpper(b.image)) }},
	{name: "hex too short", status: 2, says: "malformed kernel command line",
		arguments: func(b base) string { return pin(b.image[:63]) }},
	{name: "hex too long", status: 2, says: "malformed kernel command line",
		arguments: func(b base) string { return pin(b.image + "0") }},
	{name: "no hex", status: 2, says: "has no value", arguments: func(base) string { return "composefs.digest" }},
	{name: "hash of another size", status: 2, says: "malformed kernel command line",
		arguments: func(b base) string { return "composefs.digest=v1-sha512-12:" + b.image }},
	{name: "unknown format", status: 2, says: `found "v3"`, arguments: func(b base) string { return "composefs.digest=v3-sha256-12:" + b.image }},
	{name: "unknown argument of ours", status: 2, says: "composefs.signature is unknown",
		arguments: func(b base) string { return pin(b.image) + " composefs.signature=off" }},
	{name: "the short argument twice", status: 2, says: "more than once",
		arguments: func(b base) string { return "composefs=" + b.image + " composefs=" + b.other }},

	{name: "value in quotes", arguments: func(b base) string { return `composefs.digest="v1-sha256-12:` + b.image + `"` }},
	{name: "all in quotes", arguments: func(b base) string { return `"` + pin(b.image) + `"` }},
	{name: "within the quotes of another", status: 3, arguments: func(b base) string { return `note="x ` + pin(b.image) + ` y"` }},
	{name: "another image within the quotes of another", arguments: func(b base) string { return `note="x ` + pin(b.other) + ` y" ` + pin(b.image) }},
	{name: "quote that never ends", status: 3, arguments: func(b base) string { return `note="x ` + pin(b.image) }},
	{name: "after two dashes", status: 3, arguments: func(b base) string { return "-- " + pin(b.image) }},
	{name: "another image after two dashes", arguments: func(b base) string { return pin(b.image) + " -- " + pin(b.other) }},

	{name: "question mark", status: 2, says: "allow-insecure", arguments: maybe},
	{name: "question mark that the policy allows", policy: insecure, arguments: maybe},
	{name: "question mark that the policy allows, for an image without fs-verity", policy: insecure, arguments: maybe,
		change: withoutVerity(theImage), says: "nothing proves that it is unchanged"},
	{name: "question mark that the policy allows, for a changed image", policy: insecure, arguments: maybe, status: 5, says: "damaged",
		change: func(t *testing.T, b base, disk string) { flip(t, b, disk, b.image) }},
	{name: "question mark that the policy allows, without a seal", policy: insecure, arguments: maybe, status: 6, says: "no seal", change: withoutSeal},

	{name: "two, the first isn't there", arguments: func(b base) string { return pin(strings.Repeat("0", 64)) + " " + pin(b.image) }},
	{name: "two, the first is changed", arguments: firstOther, status: 5, says: "digest mismatch",
		change: func(t *testing.T, b base, disk string) { flip(t, b, disk, b.other) }},
	{name: "two, the first is whole and without a seal", arguments: firstOther, status: 6, says: "no seal",
		change: func(t *testing.T, b base, disk string) {
			debugfs(t, disk, "unlink "+seal(b.other, ""), "unlink "+seal(b.other, ".minisig"))
		}},
	{name: "two, the first is whole and sealed", arguments: firstOther, boots: theOther},
	{name: "another image without a seal", arguments: func(b base) string { return pin(b.other) }, status: 6, says: "no seal",
		change: func(t *testing.T, b base, disk string) {
			debugfs(t, disk, "unlink "+seal(b.other, ""), "unlink "+seal(b.other, ".minisig"))
		}},
}

const insecure = "[verify]\nallow-insecure = true\n"

func maybe(b base) string      { return "composefs.digest=?v1-sha256-12:" + b.image }
func firstOther(b base) string { return pin(b.other) + " " + pin(b.image) }

// withoutVerity takes fs-verity from a file, as a copy would: what remains is the
// flag for extents.
func withoutVerity(of func(base) string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		debugfs(t, disk, "set_inode_field "+object(of(b))+" flags 0x80000")
	}
}

// A ref names an image by what the root partition says: anybody may write that, so
// the seal decides.
func TestRefs(t *testing.T) { runRows(t, refs) }

var refs = []row{
	{name: "to the image", arguments: byRef, change: ref("next", "../{image}"), says: "composefs.ref=next"},
	{name: "to next week's image", arguments: byRef, change: ref("next", "../{other}"), boots: theOther, policy: "[verify]\nminimum-sequence = 1\n"},
	{name: "to last week's image", arguments: byRef, change: ref("next", "../{image}"), policy: "[verify]\nminimum-sequence = 2\n",
		status: 6, says: "want sequence 2 or higher, found 1"},
	{name: "to an image without a seal", arguments: byRef, status: 6, says: "no seal", change: func(t *testing.T, b base, disk string) {
		ref("next", "../{image}")(t, b, disk)
		withoutSeal(t, b, disk)
	}},
	{name: "to an image that is sealed for it", arguments: byRef, says: `"refs":["last","next"]`, change: func(t *testing.T, b base, disk string) {
		ref("next", "../{image}")(t, b, disk)
		sealSays(with("ref last\nref next\n"))(t, b, disk)
	}},
	{name: "to an image that is sealed for another", arguments: byRef, status: 6, says: "seal is for another ref: want next, found last", change: func(t *testing.T, b base, disk string) {
		ref("next", "../{image}")(t, b, disk)
		sealSays(with("ref last\n"))(t, b, disk)
	}},
	{name: "in a directory", arguments: func(base) string { return "composefs.ref=debian/next" }, change: func(t *testing.T, b base, disk string) {
		debugfs(t, disk, "mkdir /composefs/images/refs/debian", "symlink /composefs/images/refs/debian/next ../../"+b.image)
	}},
	{name: "that isn't there", arguments: byRef, status: 4, says: "composefs/images/refs/next"},
	{name: "to an image that isn't there", arguments: byRef, change: ref("next", "../"+strings.Repeat("0", 64)), status: 4, says: "composefs.ref=next points to 000"},
	{name: "to itself", arguments: byRef, change: ref("next", "next"), status: 4, says: "want a link to ../HEX"},
	{name: "to another ref", arguments: byRef, status: 4, says: "want a link to ../HEX", change: func(t *testing.T, b base, disk string) {
		ref("next", "last")(t, b, disk)
		ref("last", "../{image}")(t, b, disk)
	}},
	{name: "to a path of its own", arguments: byRef, change: ref("next", "/composefs/images/{image}"), status: 4, says: "want a link to ../HEX"},
	{name: "out of the repository", arguments: byRef, change: ref("next", "../../../../{image}"), status: 4, says: "want a link to ../HEX"},
	{name: "that is a file", arguments: byRef, status: 4, says: "next", change: func(t *testing.T, b base, disk string) {
		add(t, disk, "/composefs/images/refs/next", []byte("../"+b.image))
	}},
	{name: "with a name that leads out", arguments: func(base) string { return "composefs.ref=../../x" }, status: 2, says: "without . and .."},
	{name: "beside a digest", arguments: func(b base) string { return "composefs.ref=next " + pin(b.image) }, change: ref("next", "../{image}"),
		status: 2, says: "contradict each other"},
	{name: "where no signature is required", arguments: byRef, change: ref("next", "../{image}"), policy: "[verify]\nsignature = \"optional\"\n",
		status: 2, says: `signature = "require"`},
	{name: "where nobody is trusted", arguments: byRef, change: ref("next", "../{image}"), keys: nobody, status: 2, says: `signature = "require"`},
}

func byRef(base) string { return "composefs.ref=next" }

// ref makes a ref, with {image} and {other} for their digests.
func ref(name, target string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		debugfs(t, disk, "symlink /composefs/images/refs/"+name+" "+b.digests(target))
	}
}
