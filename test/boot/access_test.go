package boot

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// In the booted system everybody can read what they can read in the directory that the
// image was made from, by its access control lists, and no more: in every format.
func TestAccess(t *testing.T) {
	b := need(t)
	testutil.RequireTool(t, "setfacl")
	testutil.RequireRoot(t)
	root := shared.once(t, "root-access", func(path string) error { return accessRoot(shared.path("root-1"), path) })
	for _, format := range []struct{ name, argument string }{
		{"v0", "composefs.digest=v0-sha256-12:"}, {"v1", pin("")}, {"v2", "composefs="},
	} {
		t.Run(format.name, func(t *testing.T) {
			t.Parallel()
			repo, disk := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "disk.img")
			image, err := shared.mkimage("build", "--repo", repo, "--format", format.name, "--seal", b.key, "--sequence", "1", root)
			if err != nil {
				t.Fatal(err)
			}
			if err := shared.disk(disk, repo, image); err != nil {
				t.Fatal(err)
			}
			c := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), disk, format.argument+image+" guest.access", false)
			checkBoots(t, c, image)
			for user, want := range mayRead {
				if got := c.Guest()["access "+user]; got != want {
					t.Errorf("%s can read %q, want %q", user, got, want)
				}
			}
		})
	}
}

// mayRead says which files each user of package main in test/guest may read. Without
// its list the mask of a file would be the rights of its group: team could read 0660.
var mayRead = map[string]string{
	"owner": "0600 0640 0660 denied masked closed/file",
	"team":  "0640 denied masked",
	"named": "0660 denied masked closed/file",
	"group": "denied masked",
	"none":  "0640 masked",
	"other": "denied",
}

// accessRoot makes a copy of a root with files that have lists.
func accessRoot(from, to string) error {
	_, err := run("sh", "-ec", strings.ReplaceAll(`cp -a "$1" "$2" && cd "$2/usr/share"
		umask 022
		mkdir access access/closed
		cd access
		for name in 0600 0640 0660 masked denied closed/file; do
			printf %100s secret >$name
		done
		chmod 0600 0600
		chmod 0640 0640
		setfacl -m user:1001:rw,group::---,mask::rw,other::--- 0660
		setfacl -m user:1001:rw,group:1200:rw,mask::r,other::--- masked
		setfacl -m user:1003:---,group::r,mask::r,other::r denied
		setfacl -m user:1001:rx,group::---,mask::rx,other::--- closed
		chown -R 1000:1100 .
		chmod 0755 . `, "\t", ""), "sh", from, to)
	return err
}
