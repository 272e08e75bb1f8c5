package tree

// Linked returns the files that have several names, and how many. The tree must
// pass Check.
func Linked(root *Node) map[*Node]uint32 {
	names := make(map[*Node]uint32)
	findLinked(root, names)
	if len(names) > 0 {
		countNames(root, names)
	}
	return names
}

func findLinked(dir *Node, names map[*Node]uint32) {
	for _, e := range dir.Entries() {
		switch {
		case e.Link:
			names[e.Node] = 0
		case e.Node.Kind == Directory:
			findLinked(e.Node, names)
		}
	}
}

func countNames(dir *Node, names map[*Node]uint32) {
	for _, e := range dir.Entries() {
		if count, several := names[e.Node]; several {
			names[e.Node] = count + 1
		} else if e.Node.Kind == Directory {
			countNames(e.Node, names)
		}
	}
}

// Relink makes the first name of each file, depth first and sorted, its original,
// and the number of its names its Nlink. It is for trees whose source has no
// originals, and for those that have lost names: the original may be among them.
// The tree must pass Check, but for the originals.
func Relink(root *Node) {
	names := Linked(root)
	relink(root, names, make(map[*Node]struct{}, len(names)))
}

func relink(dir *Node, names map[*Node]uint32, met map[*Node]struct{}) {
	for _, e := range dir.Entries() {
		if e.Node.Kind == Directory {
			relink(e.Node, names, met)
			continue
		}
		count, several := names[e.Node]
		if !several {
			e.Node.Nlink = 1
			continue
		}
		_, link := met[e.Node]
		if e.Link != link {
			dir.Replace(e.Name, e.Node, link)
		}
		e.Node.Nlink, met[e.Node] = count, struct{}{}
	}
}
