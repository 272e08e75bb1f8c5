package transform

import "github.com/composefs-go/composefs/erofs/tree"

// mountPoints are the directories of a root on which file systems are mounted before its
// init runs, or by every init.
var mountPoints = [...]string{"boot", "dev", "etc", "proc", "run", "sys", "sysroot", "var"}

// AddMountPoints adds the mount points that a tree lacks and can't be booted without, as
// empty directories, and returns their names. They belong to root and have the time of
// /usr. composefs-rs refuses a tree without /boot or /sysroot; without the
// others it makes images that can't be booted.
func AddMountPoints(root *tree.Node) (added []string, err error) {
	usr, err := directory(root, "usr")
	if err != nil {
		return nil, err
	}
	for _, name := range mountPoints {
		if root.Lookup(name) != nil {
			continue
		}
		dir := &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2, Mtime: usr.Mtime}
		if err := root.Add(name, dir); err != nil {
			return nil, err
		}
		added = append(added, name)
	}
	return added, nil
}

// DroppedXattrs counts the files that lose extended attributes.
type DroppedXattrs struct {
	ACLs  int            // files with access control lists
	Other map[string]int // number of files by name of the attribute
}

// CountDropped counts what OCI and Boot will drop. SELinux labels count as dropped, even
// if the policy in the tree will replace them.
func CountDropped(root *tree.Node, mode XattrMode) DroppedXattrs {
	d := DroppedXattrs{Other: make(map[string]int)}
	for _, e := range tree.Walk(root) {
		if e.Link {
			continue
		}
		acl := false
		for _, x := range e.Node.Xattrs() {
			switch {
			case mode.keeps(x.Name):
			case x.Name == "system.posix_acl_access" || x.Name == "system.posix_acl_default":
				acl = true
			default:
				d.Other[x.Name]++
			}
		}
		if acl {
			d.ACLs++
		}
	}
	return d
}
