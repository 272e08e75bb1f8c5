package tree

import "iter"

// Walk returns every name of the tree with its absolute path, parents before
// their children and siblings in ascending order; the root is "/" with an empty
// name. A further name of a file is yielded with Link set. The tree must have
// passed Check, or come from a producer that can't make cycles, and must not be
// changed during the walk.
func Walk(root *Node) iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		if yield("/", Entry{Node: root}) {
			walk("", root, yield)
		}
	}
}

func walk(dir string, n *Node, yield func(string, Entry) bool) bool {
	for _, e := range n.Entries() {
		path := dir + "/" + e.Name
		if !yield(path, e) {
			return false
		}
		if e.Node.Kind == Directory && !e.Link && !walk(path, e.Node, yield) {
			return false
		}
	}
	return true
}
