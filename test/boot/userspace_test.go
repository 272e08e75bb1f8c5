package boot

import (
	"path/filepath"
	"strings"
	"testing"
)

// Where the file system has no fs-verity the image can be hashed by us: then that
// one is right, and nothing is known of the contents of its files.
func TestUserspace(t *testing.T) {
	runRows(t, userspace)
	b := need(t)
	t.Run("object flipped", func(t *testing.T) {
		t.Parallel()
		r := row{policy: hashedByUs, change: func(t *testing.T, b base, disk string) {
			withoutVerity(theLarge)(t, b, disk)
			flip(t, b, disk, b.large)
		}}
		c := r.boot(t, b)
		checkBoots(t, c, b.image)
		got, want := c.Guest()["read /usr/share/large"], sum(t, "root-1", "/usr/share/large")
		if len(got) != len(want) || got == want {
			t.Errorf("the changed file reads as %q; the threat model says that it is read, and as it is", got)
		}
	})
}

const (
	hashedByUs = "[verify]\nfs-verity = \"userspace\"\n"
	unhashed   = "[verify]\nfs-verity = \"off\"\n"
)

var userspace = []row{
	{name: "good", policy: hashedByUs, says: `"fs-verity":"userspace"`},
	{name: "image without fs-verity", policy: hashedByUs, change: withoutVerity(theImage)},
	{name: "file system without fs-verity", policy: hashedByUs, says: `fs-verity = "userspace":`, change: func(t *testing.T, _ base, disk string) { debugfs(t, disk, "feature -verity") }},
	{name: "image flipped", policy: hashedByUs, status: 5, says: "digest mismatch", change: func(t *testing.T, b base, disk string) {
		withoutVerity(theImage)(t, b, disk)
		flip(t, b, disk, b.image)
	}},
	{name: "image replaced", policy: hashedByUs, status: 5, says: "digest mismatch: want", change: replaceObject(theImage, theOther)},
	{name: "without a seal", policy: hashedByUs, status: 6, says: "no seal", change: withoutSeal},
	{name: "off", policy: unhashed, says: "nothing is verified"},
	{name: "off, without a seal", policy: unhashed, status: 6, says: "no seal", change: withoutSeal},
}

// sum is the SHA-256 of a file of a root.
func sum(t *testing.T, root, name string) string {
	t.Helper()
	out, err := run("sha256sum", filepath.Join(shared.path(root), name))
	if err != nil {
		t.Fatal(err)
	}
	hex, _, _ := strings.Cut(out, " ")
	return hex
}

// The image's file is replaced by another, just when it has passed all checks: by
// a program that is composefs-setup-root but for this; see test/boot/swap.
func TestSwap(t *testing.T) {
	b := need(t)
	shared.once(t, "setup-root-swap", func(path string) error {
		return build("..", "./boot/swap", path)
	})
	for _, c := range []struct{ name, policy string }{
		{"image replaced between measuring and mounting", ""},
		{"image replaced between hashing and mounting", hashedByUs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := row{
				policy: c.policy, initrd: []entry{{path: "init", program: "setup-root-swap"}},
				arguments: func(b base) string {
					return "rw " + pin(b.image) + " composefs-test-swap=" + strings.TrimPrefix(object(b.other), "/")
				},
			}
			console := r.boot(t, b)
			checkBoots(t, console, b.image)
			if !console.Has("test hook: ") {
				t.Errorf("nobody has replaced anything:\n%s", console.Tail(20))
			}
			if got, want := console.Guest()["read /usr/share/inline"], sum(t, "root-1", "/usr/share/inline"); got != want {
				t.Errorf("/usr/share/inline has the SHA-256 %s, want %s: another image was mounted", got, want)
			}
		})
	}
}
