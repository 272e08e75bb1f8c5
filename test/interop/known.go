package main

import (
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// A divergence is a permanent difference between a peer and us, and its reason.
type divergence struct {
	name, reason string
	applies      func(check) bool // called only for checks that differ
}

// known has all divergences. The first that applies counts, so each is as narrow as
// possible.
var known = []divergence{
	{
		"composefs-rs takes times before 1970 for very late ones",
		"V0 and V1 images begin with the earliest time of the tree; composefs-rs compares seconds without their sign. C doesn't.",
		func(c check) bool { return c.rust() && c.writes() && !c.says("v2") && hasOldTimes(c.tree) },
	},
	{
		"cfsctl makes V1 of a tree with whiteouts when asked for V0, or V0 where C makes V1",
		"mkcomposefs goes from V0 to V1 for whiteouts if it may; mkimage build --format says exactly what to make.",
		func(c check) bool {
			return c.rust() && c.writes() && !c.says("v1", "v2", "--min-version=1") && hasWhiteout(c.tree)
		},
	},
	{
		"composefs-rs writes attributes twice that a directory with whiteouts already has",
		"V1 marks such directories with trusted.overlay.overlay.opaque and user.overlay.opaque; C replaces what is there.",
		func(c check) bool { return c.rust() && c.writes() && hasClash(c.tree) },
	},
	{
		"C reads only the first half of SHA-512 digests in a dump",
		"It writes SHA-256 metacopy attributes alone; so the images are about other objects.",
		func(c check) bool { return !c.rust() && c.writes() && has(c.tree, isSHA512) },
	},
	{
		"C takes undefined values, links to directories and sizes that overflow",
		"Dump files are strict where the C code goes on with something undefined: digests that aren't hex, a GID that is no number, sizes near 2^64. A directory with two names is in no other file system.",
		func(c check) bool { return !c.rust() && slices.Contains(refused, c.what) && c.ours.status == 1 },
	},
	{
		"composefs-info of C misreads attributes",
		"Paths of objects that are no digests get the two bytes behind them, and an attribute of 4 bytes at the end is missed.",
		func(c check) bool {
			return !c.rust() && c.call.name == "composefs-info" && slices.Contains(misread, c.what)
		},
	},
	{
		"composefs-info of C measures an empty file wrongly",
		"It hashes a block where fs-verity has no data; the newer C does as we do.",
		func(c check) bool { return !c.rust() && c.what == "composefs-info measure-file EMPTY" },
	},
	{
		"composefs-info of C prints Def for an option that it doesn't know",
		"A word left over from writing it. The status is the same.",
		func(c check) bool { return string(c.theirs.out) == "Def\n" && c.ours.status == c.theirs.status },
	},
	{
		"composefs-rs has mkcomposefs and composefs-info for SHA-256 alone",
		"C takes such text as the first halves of digests; we make images of SHA-512 objects of it.",
		func(c check) bool { return c.rust() && has(c.tree, isSHA512) },
	},
	{
		"composefs-rs doesn't read the times before 1970 that it writes",
		"mkimage build --format v2 reads them, so that an image can go through text.",
		func(c check) bool { return c.rust() && c.says("v2") && c.theirs.status == 1 && hasOldTimes(c.tree) },
	},
	{
		"composefs-rs takes any attribute that begins with system.posix_acl_access or _default for an ACL",
		"The image's header says whether there are ACLs. C looks at whole names.",
		func(c check) bool { return c.rust() && c.writes() && has(c.tree, almostACL) },
	},
	{
		"composefs-rs takes whiteouts called 00 to ff at the top for its own",
		"V0 and V1 put 256 of that kind there; C tells them apart by how they are written.",
		func(c check) bool { return c.rust() && hasHexWhiteout(c.tree) },
	},
	{
		"composefs-rs makes an object of an empty file with a payload",
		"For C a file of no size is empty, whatever else its line says.",
		func(c check) bool { return c.rust() && slices.Contains(emptyObjects, c.what) },
	},
	{
		"composefs-info of composefs-rs doesn't list objects of files without a digest",
		"C lists the paths of all objects that an image leads to.",
		func(c check) bool { return c.rust() && c.call.name == "composefs-info" && has(c.tree, hasNoDigest) },
	},
	{
		"composefs-rs stores more than 128 shared attributes of a file by reference",
		"C keeps the others with the file.",
		func(c check) bool { return c.rust() && c.what == "xattr-many.dump" },
	},
	{
		"composefs-rs takes dumps of what can't be",
		"A root that is a file or comes twice, names of 256 bytes, attributes without a name. C refuses them.",
		func(c check) bool { return c.rust() && slices.Contains(impossible, c.what) && c.ours.status == 1 },
	},
	{
		"composefs-info ls of composefs-rs doesn't escape the spaces of targets",
		"C does.",
		func(c check) bool {
			return c.rust() && c.says("ls") && has(c.tree, func(n *tree.Node) bool { return strings.Contains(n.Target, " ") })
		},
	},
	{
		"composefs-info of composefs-rs drops opaque attributes",
		"It takes them for the marks of V1, also where they are the tree's own; that tree's digest could not be had from the dump again.",
		func(c check) bool { return c.rust() && c.says("dump") && has(c.tree, isOpaque) },
	},
	{
		"composefs-info ls of composefs-rs shows the target of a symlink at each of its names",
		"C shows it at the first, as it does with the object of a file.",
		func(c check) bool { return c.rust() && c.says("ls") && hasLinkedSymlink(c.tree) },
	},
}

// refused are dumps that C accepts and we refuse.
var refused = []string{"a link to a directory", "a short digest", "a group that is no number", "a negative size"}

// emptyObjects are dumps in which empty files have payloads.
var emptyObjects = []string{"min-size0-payload.dump", "external-sizes.dump"}

// impossible are dumps that composefs-rs accepts and we refuse.
var impossible = []string{"a root that is a file", "two roots", "a long name", "an attribute without name"}

// misread are dumps from which C makes images that it can't read.
var misread = []string{
	"external-forms.dump", "chunk-tail.dump", "min-custom-payload.dump", "overlay-escape.dump",
	"rand-000005.dump", "rand-000006.dump", "rand-000016.dump",
}

// rust reports whether the peer is composefs-rs.
func (c check) rust() bool { return strings.HasPrefix(c.peer.name, "cfsctl") }

// writes reports whether an image was made.
func (c check) writes() bool {
	return c.call.name == "mkcomposefs" || c.call.name == "mkimage" && slices.Contains(c.call.args, "build")
}

// says reports whether our command line contains one of the words.
func (c check) says(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(c.call.args, w) })
}

// has reports whether a file of the tree meets the condition.
func has(root *tree.Node, so func(*tree.Node) bool) bool {
	if root == nil {
		return false
	}
	for _, e := range tree.Walk(root) {
		if so(e.Node) {
			return true
		}
	}
	return false
}

func hasOldTimes(root *tree.Node) bool {
	return has(root, func(n *tree.Node) bool { return n.Mtime.Sec < 0 })
}

func isSHA512(n *tree.Node) bool { return n.Object.Algorithm() == verity.SHA512 }

func almostACL(n *tree.Node) bool {
	return slices.ContainsFunc(n.Xattrs(), func(x tree.Xattr) bool {
		return strings.HasPrefix(x.Name, "system.posix_acl_access") && x.Name != "system.posix_acl_access" ||
			strings.HasPrefix(x.Name, "system.posix_acl_default") && x.Name != "system.posix_acl_default"
	})
}

func hasHexWhiteout(root *tree.Node) bool {
	return root != nil && slices.ContainsFunc(root.Entries(), func(e tree.Entry) bool {
		return e.Node.IsWhiteout() && len(e.Name) == 2 && strings.Trim(e.Name, "0123456789abcdef") == ""
	})
}

func hasNoDigest(n *tree.Node) bool { return n.Payload != "" && n.Object.IsZero() }

func hasWhiteout(root *tree.Node) bool { return has(root, (*tree.Node).IsWhiteout) }

func isOpaque(n *tree.Node) bool {
	_, trusted := n.Xattr("trusted.overlay.opaque")
	_, user := n.Xattr("user.overlay.opaque")
	return trusted || user
}

func hasClash(root *tree.Node) bool {
	return has(root, func(n *tree.Node) bool {
		return isOpaque(n) && slices.ContainsFunc(n.Entries(), func(e tree.Entry) bool { return e.Node.IsWhiteout() })
	})
}

func hasLinkedSymlink(root *tree.Node) bool {
	return has(root, func(n *tree.Node) bool { return n.Kind == tree.Symlink && n.Nlink > 1 })
}
