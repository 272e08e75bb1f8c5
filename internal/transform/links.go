package transform

import "github.com/composefs-go/composefs/internal/tree"

// relink makes the first name of each file, depth first and sorted, its original
// and counts its names. It is needed wherever names have gone: the original may
// have been among them.
func relink(root *tree.Node) {
	names := make(map[*tree.Node]uint32) // of files with a name that is a hard link
	for _, e := range tree.Walk(root) {
		if e.Link {
			names[e.Node] = 0
		}
	}
	relinkDir(root, names)
	for n, count := range names {
		n.Nlink = count
	}
}

func relinkDir(dir *tree.Node, names map[*tree.Node]uint32) {
	for _, e := range dir.Entries() {
		if e.Node.Kind == tree.Directory {
			relinkDir(e.Node, names)
			continue
		}
		count, several := names[e.Node]
		if !several {
			e.Node.Nlink = 1
			continue
		}
		names[e.Node] = count + 1
		if e.Link != (count > 0) {
			dir.Replace(e.Name, e.Node, count > 0)
		}
	}
}
