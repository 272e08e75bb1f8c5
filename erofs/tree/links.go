package tree

// Linked returns the files that have several names, and how many names they have. The tree
// must pass Check.
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

// Relink makes the first name of each file, in sorted depth-first order, its original, and
// sets Nlink to the number of its names. It is for trees whose source has no originals, and
// for trees from which names were removed, perhaps an original. Apart from the originals,
// the tree must pass Check.
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
