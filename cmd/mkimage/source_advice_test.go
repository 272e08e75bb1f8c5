package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
)

func TestAnErrorOfASourceComesWithItsRemedy(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&source.DirectoryError{Path: "a.tar", Found: "a file", Prefix: "tar:"}, "a.tar is a file: want a directory, or tar:a.tar"},
		{&source.DirectoryError{Path: "i", Found: "a file", Image: true}, "i is an image already: want a directory to make one of"},
		{&source.DirectoryError{Path: "x", Found: "a file"}, "x is a file: want a directory, or one of tar:FILE, oci-archive:FILE, docker-archive:FILE, dump:FILE and crfs:FILE"},
		{&filekind.Error{Path: "d", Found: "a directory", Want: "a dump"}, "d is a directory: want a dump, or the name of the directory alone"},
		{&filekind.Error{Path: "d", Found: filekind.Text, Want: "a dump"}, "d is a text: want a dump"},
		{&directory.MountError{Path: "root/proc", Type: "proc"}, "unmount it, or say --mounts=empty"},
		{directory.ErrChanged, "; build from a tree that no program writes to"},
		{directory.ErrSocket, "; remove it from the tree"},
		{&tarball.NoNumberError{Name: "joe"}, `the number of "joe" isn't in the archive; make the archive with --xattrs --xattrs-include='*'`},
		{fmt.Errorf("%w, more than 3", tarball.ErrTooMany), "raise the limit with --max-entries N"},
		{&tarball.ExpansionError{Limit: 3}, "raise the limit with --max-expansion BYTES"},
		{&source.FileError{Name: "a b", Err: &tarball.PackedError{Packed: "xz", Unpack: "xz -dc"}}, "; unpack it on the way: xz -dc 'a b' | mkimage build tar:-"},
		{&source.FileError{Name: "-", Err: &tarball.PackedError{Packed: "xz", Unpack: "xz -dc"}}, "; unpack it on the way: xz -dc FILE | mkimage build tar:-"},
		{&tarball.LinkError{Path: "lib", Target: "usr/lib"}, "say --follow-layer-links"},
	} {
		if got := adviseSource(fmt.Errorf("read it: %w", c.err)).Error(); !strings.HasSuffix(got, c.want) && !strings.Contains(got, c.want) {
			t.Errorf("%s\nlacks %s", got, c.want)
		}
	}
	if adviseSource(nil) != nil {
		t.Error("no error became one")
	}
}

func TestATreeThatCannotBeBootedComesWithItsRemedy(t *testing.T) {
	for _, c := range []struct {
		err         error
		mountPoints bool
		want        string
	}{
		{&transform.LayoutError{Directory: "usr", Missing: true}, true, "want a directory /usr, found none: make it, even if it is empty"},
		{&transform.LayoutError{Directory: "boot", Missing: true}, false, "or say --boot alone, which makes what is missing"},
		{&transform.LayoutError{Directory: "usr"}, true, "want a directory /usr, found a file of another kind"},
		{&transform.NoContextsError{File: "etc/selinux/x/contexts/files/file_contexts", Config: "etc/selinux/config"}, true, ": install it, or remove /etc/selinux/config"},
		{source.ErrNotKept, true, "; build from a directory"},
	} {
		if got := adviseBoot(c.err, c.mountPoints).Error(); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s\nlacks %s", got, c.want)
		}
	}
}
