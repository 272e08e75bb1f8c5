package tree_test

import (
	"fmt"
	"log"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// A tree is made from the top down, by hand or by an importer. A name that is added with
// Link is a hard link.
func Example() {
	content := []byte("#!/bin/sh\necho a script that is too long to lie in the image itself\n")
	object := verity.Sum(verity.SHA256, content)
	script := &tree.Node{
		Kind: tree.Regular, Perm: 0o755, Nlink: 2, Mtime: tree.Time{Sec: 1700000000},
		Size: uint64(len(content)), Object: object, Payload: object.ObjectPath(),
	}
	script.SetXattr("security.selinux", []byte("system_u:object_r:bin_t:s0\x00"))
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	bin := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for _, err := range []error{
		root.Add("bin", bin), bin.Add("hi", script), bin.Link("hello", script),
		root.Add("sbin", &tree.Node{Kind: tree.Symlink, Perm: 0o777, Size: 3, Target: "bin"}),
		tree.Check(root),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	for path, e := range tree.Walk(root) {
		fmt.Println(path, e.Node.Kind == tree.Directory, e.Link)
	}
	// Output:
	// / true false
	// /bin true false
	// /bin/hello false true
	// /bin/hi false false
	// /sbin false false
}
