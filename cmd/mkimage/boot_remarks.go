package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/transform"
)

// ownWay is the value of --boot without a release: as composefs-rs 0.9.4 does it, but also
// for trees that composefs-rs refuses or whose images wouldn't boot.
const ownWay = "mkimage"

// parseBoot reads the value of --boot, which also decides whether missing mount points are
// added.
func parseBoot(value string) (release transform.Release, mountPoints bool, err error) {
	if value == ownWay {
		return transform.Release094, true, nil
	}
	release, err = transform.ParseRelease(value)
	return release, false, err
}

// prepareBoot turns the tree of the source called name into one to boot from, and prints
// what a machine with this root will lack.
func prepareBoot(u *ui, t source.Tree, name, boot string) error {
	release, mountPoints, err := parseBoot(boot)
	if err != nil {
		return err
	}
	r, err := transform.Prepare(t.Root, t.Content, release, mountPoints)
	if err != nil {
		return fmt.Errorf("%s: %w", name, adviseBoot(err, mountPoints))
	}
	for _, remark := range bootRemarks(r, name) {
		u.remark("%s", remark)
	}
	return nil
}

// adviseBoot adds advice to an error in preparing a tree to boot from. mountPoints says
// whether missing mount points were to be added.
func adviseBoot(err error, mountPoints bool) error {
	var layout *transform.LayoutError
	var contexts *transform.NoContextsError
	switch {
	case errors.As(err, &layout) && layout.Missing && mountPoints:
		return fmt.Errorf("%w: make it, even if it is empty", err)
	case errors.As(err, &layout) && layout.Missing:
		return fmt.Errorf("%w: make it, even if it is empty; or say --boot alone, which makes what is missing", err)
	case errors.As(err, &contexts):
		return fmt.Errorf("%w: install it, or remove /%s", err, contexts.Config)
	case errors.Is(err, source.ErrNotKept):
		return fmt.Errorf("%w; build from a directory", err)
	}
	return err
}

// bootRemarks says what was added to the source called name, what of it isn't in the
// image, and what a machine with this root will lack.
func bootRemarks(r transform.Report, name string) (remarks []string) {
	say := func(format string, args ...any) { remarks = append(remarks, fmt.Sprintf(format, args...)) }
	if len(r.Added) > 0 {
		say("%s lacks %s, which the boot mounts on: made in the image, empty", name, paths(r.Added))
	}
	if r.Dropped.ACLs > 0 {
		say("--boot leaves out the access control lists of %s: users who have access only by these lose it", countFiles(r.Dropped.ACLs))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Dropped.Other)) {
		say("--boot leaves out the extended attribute %q of %s", name, countFiles(r.Dropped.Other[name]))
	}
	if r.NoInit {
		say("%s has no init program, none of %s: the boot will be refused, unless the command line names another with init=", name, strings.Join(bootcfg.Inits(""), ", "))
	}
	if r.NoKernel {
		say("%s has no kernel, as in /usr/lib/modules/VERSION: the machine will have only the modules in the initrd", name)
	}
	if r.NoTmp {
		say("%s has no /tmp: make an empty one, to mount a tmpfs on", name)
	}
	if r.Owner != 0 {
		say("/usr of %s belongs to user %d and not to root, as when an ordinary user has unpacked it: in the booted system that user would own it too; build from the archive (tar:FILE), or as root, or in: unshare --map-auto --map-root-user", name, r.Owner)
	}
	if len(r.ReadOnly) > 0 {
		say("%s will be read-only in the booted system, like all but /etc and /var: make them links to directories below /var, or mount something there", paths(r.ReadOnly))
	}
	return remarks
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// paths lists names as paths in a sentence.
func paths(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = "/" + n
	}
	return inSentence(all)
}
