package transform

import (
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs/tree"
)

// Emptied are the directories at the top whose content Prepare drops, if they are there:
// it needn't be read.
var Emptied = []string{"boot", "run", "sysroot"}

// A Report says what Prepare has done to a tree, and what a machine with this root will
// lack. Paths are without a slash at their beginning.
type Report struct {
	Added   []string // mount points that were made
	Dropped Dropped  // extended attributes

	NoInit   bool // none of bootcfg.Inits("") is there
	NoKernel bool // there are no modules, and so no kernel either
	NoTmp    bool
	ReadOnly []string // directories that people expect to write to
}

// Prepare makes a source's tree one to boot from: OCI, and then the release's Boot. With
// mountPoints it makes those first that the tree lacks. The content is wanted of a few
// files below /etc/selinux. The tree is changed in place; after an error it is of no use.
func Prepare(root *tree.Node, content Content, release Release, mountPoints bool) (r Report, err error) {
	r.Dropped = CountDropped(root, AllowlistOnly)
	if mountPoints {
		if r.Added, err = AddMountPoints(root); err != nil {
			return r, err
		}
	}
	if err := OCI(root, AllowlistOnly); err != nil {
		return r, err
	}
	if err := release.Boot(root, content); err != nil {
		return r, err
	}
	if resolve(root, selinuxDir+"/config") != nil {
		delete(r.Dropped.Other, labelName) // the policy's labels came in their place
	}
	r.lacks(root)
	return r, nil
}

// writables are directories that people expect to write to.
var writables = []string{"home", "root", "srv", "opt", "mnt", "usr/local"}

// lacks finds out what a machine with this root will lack.
func (r *Report) lacks(root *tree.Node) {
	r.NoInit = !slices.ContainsFunc(bootcfg.Inits(""), func(init string) bool { return resolve(root, init[1:]) != nil })
	modules := resolve(root, "usr/lib/modules")
	if modules == nil {
		modules = resolve(root, "lib/modules")
	}
	r.NoKernel = modules == nil || modules.Len() == 0
	r.NoTmp = resolve(root, "tmp") == nil
	for _, dir := range writables {
		if n := lookup(root, dir); n != nil && n.Kind == tree.Directory {
			r.ReadOnly = append(r.ReadOnly, dir)
		}
	}
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
