package transform

import (
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs/tree"
)

// Emptied are the directories at the top whose content Prepare drops. It needn't be read.
var Emptied = []string{"boot", "run", "sysroot"}

// A Report says what Prepare has done to a tree, and what a machine with this root will
// lack. Paths are without a slash at their beginning.
type Report struct {
	Added   []string      // mount points
	Dropped DroppedXattrs // extended attributes

	NoInit   bool // none of bootcfg.Inits("") is there
	NoKernel bool // there are no modules, and so no kernel either
	NoTmp    bool
	Owner    uint32   // of /usr, and so of /
	ReadOnly []string // directories that people expect to write to
}

// Prepare turns the tree of a source into one to boot from: it does OCI, and then Boot of
// the release. With mountPoints it first adds those that the tree lacks. It reads the
// content of a few files below /etc/selinux. The tree is changed in place; after an error
// it can't be used.
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
		delete(r.Dropped.Other, labelName) // the policy's labels have replaced them
	}
	r.lacks(root)
	return r, nil
}

// writables are directories that people expect to write to.
var writables = []string{"home", "root", "srv", "opt", "mnt", "usr/local"}

// lacks notes what a machine with this root will lack.
func (r *Report) lacks(root *tree.Node) {
	r.NoInit = !slices.ContainsFunc(bootcfg.Inits(""), func(init string) bool { return resolve(root, init[1:]) != nil })
	modules := resolve(root, "usr/lib/modules")
	if modules == nil {
		modules = resolve(root, "lib/modules")
	}
	r.NoKernel = modules == nil || modules.Len() == 0
	r.NoTmp = resolve(root, "tmp") == nil
	r.Owner = root.UID
	for _, dir := range writables {
		if n := lookup(root, dir); n != nil && n.Kind == tree.Directory {
			r.ReadOnly = append(r.ReadOnly, dir)
		}
	}
}

// maxLinks is how many symbolic links are followed, as by the kernel.
const maxLinks = 40

// resolve returns the file at a path in a tree, following symbolic links; nil if there is
// none.
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

// lookup returns the file at a path, without following symbolic links.
func lookup(n *tree.Node, name string) *tree.Node {
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && n != nil {
			n = n.Lookup(part)
		}
	}
	return n
}
