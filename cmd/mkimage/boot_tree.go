package main

import (
	"fmt"
	"io"
	"os"
	"path"

	"github.com/composefs-go/composefs/internal/transform"
	"github.com/composefs-go/composefs/internal/tree"
)

// bootTransform makes a tree that was read from the directory source one to boot
// from, in the way of composefs-rs.
func bootTransform(root *tree.Node, source string) error {
	if err := transform.OCI(root, transform.AllowlistOnly); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	dir, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer dir.Close()
	paths := map[*tree.Node]string{}
	if etc := root.Lookup("etc"); etc != nil && etc.Lookup("selinux") != nil {
		collectPaths(paths, "etc/selinux", etc.Lookup("selinux"))
	}
	content := func(n *tree.Node) ([]byte, error) {
		f, err := dir.Open(paths[n])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, int64(n.Size)))
	}
	if err := transform.Boot(root, content); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

// collectPaths finds out where the files of a directory lie in the source.
func collectPaths(paths map[*tree.Node]string, name string, n *tree.Node) {
	paths[n] = name
	for _, e := range n.Entries() {
		collectPaths(paths, path.Join(name, e.Name), e.Node)
	}
}
