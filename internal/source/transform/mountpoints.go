package transform

import "github.com/composefs-go/composefs/erofs/tree"

// mountPoints are the directories of a root that something is mounted on before its
// init runs, or by it whatever its configuration is.
var mountPoints = [...]string{"boot", "dev", "etc", "proc", "run", "sys", "sysroot", "var"}

// AddMountPoints makes the directories, empty, that a tree lacks and can't be booted
// without, and returns their names. They belong to root and have /usr's time in
// seconds. composefs-rs refuses a tree without /boot or /sysroot, and makes images
// without the others that no initramfs can mount anything in.
func AddMountPoints(root *tree.Node) (added []string, err error) {
	usr, err := directory(root, "usr")
	if err != nil {
		return nil, err
	}
	for _, name := range mountPoints {
		if root.Lookup(name) != nil {
			continue
		}
		dir := &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2, Mtime: tree.Time{Sec: usr.Mtime.Sec}}
		if err := root.Add(name, dir); err != nil {
			return nil, err
		}
		added = append(added, name)
	}
	return added, nil
}

// Dropped counts the files that lose attributes.
type Dropped struct {
	ACLs  int            // files with access control lists
	Other map[string]int // files by name of the attribute
}

// CountDropped says what OCI and Boot will drop. SELinux labels count as dropped,
// though a policy may have others come in their place.
func CountDropped(root *tree.Node, mode XattrMode) Dropped {
	d := Dropped{Other: make(map[string]int)}
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
