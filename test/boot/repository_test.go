package boot

import (
	"strings"
	"testing"
)

// Whatever the root partition holds under the names of the repository: nothing
// outside of it is opened, and only a file with the right digest is mounted.
func TestRepository(t *testing.T) { runRows(t, repository) }

var repository = []row{
	{name: "image by a link out of the repository", status: 4, says: "images/", change: instead(theName, "symlink %s ../../image")},
	{name: "image by an absolute link", status: 4, says: "images/", change: instead(theName, "symlink %s /dev/vda")},
	{name: "image by a link to itself", status: 4, says: "images/", change: func(t *testing.T, b base, disk string) {
		instead(theName, "symlink %s "+b.image)(t, b, disk)
	}},
	{name: "image by way of another link", change: func(t *testing.T, b base, disk string) {
		instead(theName, "symlink %s refs/detour")(t, b, disk)
		debugfs(t, disk, "symlink /composefs/images/refs/detour ../../objects/"+b.image[:2]+"/"+b.image[2:])
	}},
	{name: "image itself instead of a link", change: func(t *testing.T, b base, disk string) {
		debugfs(t, disk, "unlink "+theName(b), "ln "+object(b.image)+" "+theName(b))
	}},
	{name: "image is a device", status: 4, says: "want a regular file", change: instead(theName, "mknod %s b 254 0")},
	{name: "image is a named pipe", status: 4, says: "want a regular file", change: instead(theName, "mknod %s p")},
	{name: "image is a directory", status: 4, says: "want a regular file", change: instead(theName, "mkdir %s")},
	{name: "image is another one with fs-verity", status: 5, says: "digest mismatch: want", change: replaceObject(theImage, theOther)},
	{name: "image is an object that is no image", status: 5, says: "digest mismatch: want", change: replaceObject(theImage, theLarge)},
	{name: "repository by a link", status: 8, says: "symbolic link", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "ln /composefs /elsewhere", "unlink /composefs", "symlink /composefs elsewhere")
	}},
	{name: "no repository", status: 4, says: "no directory composefs", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "unlink /composefs")
	}},
	{name: "objects by a link", status: 8, says: "symbolic link", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "ln /composefs/objects /composefs/elsewhere", "unlink /composefs/objects", "symlink /composefs/objects elsewhere")
	}},

	{name: "init's object by a link", status: 9, says: "is a symbolic link", change: func(t *testing.T, b base, disk string) {
		init := object(b.init)
		debugfs(t, disk, "ln "+init+" /composefs/elsewhere", "unlink "+init, "symlink "+init+" ../../elsewhere")
	}},
	{name: "init's object is a device", status: 9, says: "is no regular file", change: instead(theInitObject, "mknod %s b 254 0")},
	{name: "init's object is a named pipe", status: 9, says: "is no regular file", change: instead(theInitObject, "mknod %s p")},
	{name: "init's object and another swapped", status: 9, says: "init", change: func(t *testing.T, b base, disk string) {
		init := object(b.init)
		large := object(b.large)
		debugfs(t, disk, "ln "+init+" /aside", "unlink "+init, "ln "+large+" "+init, "unlink "+large, "ln /aside "+large)
	}},
	{name: "a file system without fs-verity", status: 5, says: "has no fs-verity", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "feature -verity")
	}},
}

// theName is by what name the image is opened.
func theName(b base) string { return "/composefs/images/" + b.image }

func theInitObject(b base) string { return object(b.init) }

// The directories for /etc and /var are the machine's own: nothing in them is
// verified, and so no link in them is followed.
func TestState(t *testing.T) { runRows(t, states) }

var states = []row{
	{name: "by a link", status: 8, says: "symbolic link", change: linked("/state")},
	{name: "deployments by a link", status: 8, says: "symbolic link", change: linked("/state/deploy")},
	{name: "deployment by a link", status: 8, says: "symbolic link", change: linked("/state/deploy/{image}")},
	{name: "etc by a link", status: 8, says: "/etc", change: linked("/state/deploy/{image}/etc")},
	{name: "upper layer of etc by a link", status: 8, says: "/etc", change: linked("/state/deploy/{image}/etc/upper")},
	{name: "var by a link", status: 8, says: "/var", change: linked("/state/deploy/{image}/var")},
	{name: "var is a file", status: 8, says: "/var", change: func(t *testing.T, b base, disk string) {
		path := b.digests("/state/deploy/{image}/var")
		debugfs(t, disk, "unlink "+path)
		add(t, disk, path, []byte("x"))
	}},
	{name: "etc for all deployments by a link", status: 8, says: "/etc", policy: "[etc]\nmount = \"root\"\n", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "symlink /etc composefs")
	}},
	{name: "missing", change: func(t *testing.T, _ base, disk string) { debugfs(t, disk, "unlink /state") }},
	{name: "of a new deployment on a full disk", says: `"no-room":["etc","var"]`, change: func(t *testing.T, b base, disk string) {
		debugfs(t, disk, "unlink /state")
		fill(t, b, disk)
	}},
	{name: "of a new deployment on a full disk, where the policy refuses", policy: "[failure]\nfull-disk = \"refuse\"\n", status: 8, says: "no room for the state of a new deployment",
		change: func(t *testing.T, b base, disk string) {
			debugfs(t, disk, "unlink /state")
			fill(t, b, disk)
		}},
	{name: "of an old deployment on a full disk", says: `"no-room":[]`, change: fill},
}

// linked moves a directory aside and puts a link to it in its place.
func linked(path string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		path := b.digests(path)
		up := strings.Repeat("../", strings.Count(path, "/")-1)
		debugfs(t, disk, "ln "+path+" /aside", "unlink "+path, "symlink "+path+" "+up+"aside")
	}
}
