package dumpfile

import (
	"bytes"
	"fmt"

	"github.com/composefs-go/composefs/erofs/tree"
)

// dirCache finds directories by path. Lines usually come in the order of a walk, so it starts
// from the directories in the path of the previous line.
type dirCache struct {
	root  *tree.Node
	path  []byte // path of the directory found last; components separated by one slash
	stack []dirLevel
}

// A dirLevel is the directory dirCache.path[:end].
type dirLevel struct {
	end  int
	node *tree.Node
}

// find returns the directory called path, which has no slash at either end; the
// empty path is the root.
func (c *dirCache) find(path []byte) (*tree.Node, error) {
	c.stack = c.stack[:c.common(path)]
	dir, start := c.root, 0
	if l := len(c.stack); l > 0 {
		dir, start = c.stack[l-1].node, c.stack[l-1].end+1
	}
	c.path = append(c.path[:0], path...)
	for start < len(path) {
		end := len(path)
		if i := bytes.IndexByte(path[start:], '/'); i >= 0 {
			end = start + i
		}
		dir = dir.Lookup(string(path[start:end]))
		if dir == nil || dir.Kind != tree.Directory {
			return nil, fmt.Errorf("there is no directory %.200q in the lines before", "/"+string(path[:end]))
		}
		c.stack = append(c.stack, dirLevel{end, dir})
		start = end + 1
	}
	return dir, nil
}

// common returns how many levels of the stack are on the way to path too.
func (c *dirCache) common(path []byte) int {
	start := 0
	for i, l := range c.stack {
		if len(path) < l.end || len(path) > l.end && path[l.end] != '/' || !bytes.Equal(path[start:l.end], c.path[start:l.end]) {
			return i
		}
		start = l.end
	}
	return len(c.stack)
}
