package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/transform"
)

// ownWay is what --boot is without a release: composefs-rs 0.9.0's way, for trees too
// that it refuses or that it makes images of which don't boot.
const ownWay = "mkimage"

// parseBoot reads the value of --boot.
func parseBoot(value string) (release transform.Release, complete bool, err error) {
	if value == ownWay {
		return transform.Release090, true, nil
	}
	release, err = transform.ParseRelease(value)
	return release, false, err
}

// bootTransform makes a source's tree one to boot from, and says what a machine with
// it will lack.
func bootTransform(u *ui, s source, name, how string) error {
	release, complete, err := parseBoot(how)
	if err != nil {
		return err
	}
	dropped := transform.CountDropped(s.root, transform.AllowlistOnly)
	if complete {
		var added []string
		if added, err = transform.AddMountPoints(s.root); len(added) > 0 {
			u.remark("remark: %s lacks %s, which the boot mounts on: made in the image, empty", name, paths(added))
		}
	}
	if err == nil {
		err = transform.OCI(s.root, transform.AllowlistOnly)
	}
	if err == nil {
		err = release.Boot(s.root, s.content)
	}
	if err != nil {
		if !complete && errors.Is(err, transform.ErrLayout) {
			err = fmt.Errorf("%w; or say --boot alone, which makes what is missing", err)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	if resolve(s.root, policyDir+"/config") != nil {
		delete(dropped.Other, "security.selinux") // the policy's labels came in their place
	}
	sayDropped(u, dropped)
	sayMissing(u, s.root, name)
	return nil
}

// sayDropped says what isn't in the image, though it is in the tree.
func sayDropped(u *ui, d transform.Dropped) {
	if d.ACLs > 0 {
		u.remark("remark: --boot leaves out the access control lists of %s: users who have access only by these lose it", countFiles(d.ACLs))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Other)) {
		u.remark("remark: --boot leaves out the extended attribute %q of %s", name, countFiles(d.Other[name]))
	}
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// writables are directories that people expect to write to.
var writables = []string{"home", "root", "srv", "opt", "mnt", "usr/local"}

// sayMissing says what a machine with this root will lack.
func sayMissing(u *ui, root *tree.Node, name string) {
	inits := bootcfg.Inits("")
	if !slices.ContainsFunc(inits, func(init string) bool { return resolve(root, init[1:]) != nil }) {
		u.remark("remark: %s has no init program, none of %s: the boot will be refused, unless the command line names another with init=", name, strings.Join(inits, ", "))
	}
	modules := resolve(root, "usr/lib/modules")
	if modules == nil {
		modules = resolve(root, "lib/modules")
	}
	if modules == nil || modules.Len() == 0 {
		u.remark("remark: %s has no kernel, as in /usr/lib/modules/VERSION: the machine will have only the modules in the initrd", name)
	}
	if resolve(root, "tmp") == nil {
		u.remark("remark: %s has no /tmp: make an empty one, to mount a tmpfs on", name)
	}
	var fixed []string
	for _, dir := range writables {
		if n := lookup(root, dir); n != nil && n.Kind == tree.Directory {
			fixed = append(fixed, dir)
		}
	}
	if len(fixed) > 0 {
		u.remark("remark: %s will be read-only in the booted system, like all but /etc and /var: make them links to directories below /var, or mount something there", paths(fixed))
	}
}

// paths lists names as paths, for people.
func paths(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = "/" + n
	}
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// maxLinks is how many symbolic links are followed, as by the kernel.
const maxLinks = 40

// resolve returns what a path stands for in a tree, through symbolic links; nil if
// nothing is there.
func resolve(root *tree.Node, name string) *tree.Node {
	at, left := "", strings.Split(name, "/")
	for links := 0; len(left) > 0; {
		next := path.Join("/", at, left[0])[1:]
		left = left[1:]
		n := lookup(root, next)
		if n == nil || n.Kind != tree.Symlink {
			if at = next; n == nil {
				return nil
			}
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if path.IsAbs(n.Target) {
			at = ""
		}
		left = append(strings.Split(n.Target, "/"), left...)
	}
	return lookup(root, at)
}

// lookup finds a path that no symbolic link is on.
func lookup(n *tree.Node, name string) *tree.Node {
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && n != nil {
			n = n.Lookup(part)
		}
	}
	return n
}
