package tarball

import (
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// Limits for following symbolic links in one path: as many links as the kernel follows, and
// so many names in all of them. Without the second limit a small archive could take very
// long.
const (
	linksMax = 40
	stepsMax = 4096
)

// split appends the components of a name to parts, except empty ones and ".". If there are
// none, the name is the root.
func split(parts []string, name string) ([]string, error) {
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return nil, fmt.Errorf("the path %.300q has \"..\" in it, which could lead out of the root", name)
		}
		if err := tree.CheckName(part); err != nil {
			return nil, err
		}
		if parts = append(parts, part); len(parts) >= tree.DepthMax {
			return nil, errTooDeep
		}
	}
	return parts, nil
}

var errTooDeep = fmt.Errorf("directories are nested more than %d deep", tree.DepthMax)

// directory returns the directory at a path, nil if there is none. With create it makes
// missing directories on the way. It leaves the steps to the directory in v.steps.
func (v *view) directory(path []string, create bool) (*tree.Node, error) {
	v.steps = append(v.steps[:0], step{dir: v.root})
	dir, links, left := v.root, 0, stepsMax
	for rest := path; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if left--; left < 0 && links > 0 {
			return nil, fmt.Errorf("%w: the symbolic links on the way have more than %d names", ErrTooLarge, stepsMax)
		}
		if name == ".." { // in a link's target; nothing is above the root
			v.steps = v.steps[:max(1, len(v.steps)-1)]
			dir = v.steps[len(v.steps)-1].dir
			continue
		}
		child, err := v.enter(dir, name, create)
		if child == nil || err != nil {
			return nil, err
		}
		if child.Kind == tree.Directory {
			v.steps = append(v.steps, step{child, name})
			dir = child
			continue
		}
		if links++; links > linksMax {
			return nil, fmt.Errorf("%w: more than %d symbolic links on the way, the last at %.300q", ErrTooLarge, linksMax, v.at(name))
		}
		if strings.HasPrefix(child.Target, "/") {
			v.steps = v.steps[:1]
			dir = v.root
		}
		rest = append(targetNames(child.Target), rest...)
	}
	return dir, nil
}

// enter returns what name is on the way to a file: a directory or, if links are followed, a
// symbolic link.
func (v *view) enter(dir *tree.Node, name string, create bool) (*tree.Node, error) {
	child := v.child(dir, name)
	switch {
	case child == nil && !create:
		return nil, nil
	case child == nil:
		return v.implied(dir, name)
	case child.Kind == tree.Directory:
	case child.Kind == tree.Symlink && !v.follow:
		return nil, &LinkError{Path: v.at(name), Target: child.Target}
	case child.Kind != tree.Symlink && create:
		return nil, v.errNoDirectory(name)
	case child.Kind != tree.Symlink:
		return nil, nil
	}
	return child, nil
}

// implied makes a directory without an entry of its own. It takes as much memory as one
// with an entry.
func (v *view) implied(dir *tree.Node, name string) (*tree.Node, error) {
	if len(v.steps) >= tree.DepthMax {
		return nil, errTooDeep
	}
	if err := tree.CheckName(name); err != nil { // of a link's target
		return nil, err
	}
	if err := v.charge(1); err != nil {
		return nil, err
	}
	made := v.newDirectory()
	return made, v.put(dir, name, made, false)
}

// targetNames returns the components of a symbolic link's target.
func targetNames(target string) []string {
	var names []string
	for name := range strings.SplitSeq(target, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// at returns the path of a name in the directory at the end of the steps.
func (v *view) at(name string) string {
	var b strings.Builder
	for _, s := range v.steps[1:] {
		b.WriteString(s.name)
		b.WriteByte('/')
	}
	b.WriteString(name)
	return b.String()
}
