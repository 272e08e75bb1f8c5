package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// builtin returns the root with the files that every kernel has there before it unpacks
// an initrd.
//
// Format: usr/default_cpio_list of the kernel.
func builtin() *node {
	dir := func(children map[string]*node) *node {
		return &node{mode: fs.ModeDir | 0o755, children: children, names: 1, builtin: true}
	}
	console := &node{mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, names: 1, builtin: true}
	return dir(map[string]*node{
		"dev":  dir(map[string]*node{"console": console}),
		"root": dir(make(map[string]*node)),
	})
}

// cleanName returns the name of a member in the form for find. It refuses names with which
// the kernel finds no file, or another one.
func cleanName(name string, isDir bool) (string, error) {
	var parts []string
	last := ""
	for last = range strings.SplitSeq(name, "/") {
		switch last {
		case "..":
			return "", errors.New(`want a name without ".."`)
		case "", ".":
		default:
			parts = append(parts, last)
		}
	}
	switch {
	case len(parts) == 0 && isDir && name != "":
		return ".", nil // the root itself
	case len(parts) == 0, last == ".", last == "" && !isDir:
		return "", errors.New("want the name of a file, found no name, or one of a directory")
	}
	return strings.Join(parts, "/"), nil
}

// add puts a node where the kernel would: it follows links, replaces what was there, and
// does nothing if the directory is missing.
func (a *Archive) add(name string, n *node) error {
	name, err := cleanName(name, n.mode.IsDir())
	if err != nil || name == "." {
		return err
	}
	dir, err := a.find(path.Dir(name), true, &a.steps)
	if errors.Is(err, fs.ErrNotExist) && a.over {
		if err := a.imply(path.Dir(name)); err != nil {
			return err
		}
		dir, err = a.find(path.Dir(name), true, &a.steps)
	}
	if errors.Is(err, errSteps) {
		return err
	}
	if err != nil || !dir.mode.IsDir() {
		return nil
	}
	base := path.Base(name)
	if old := dir.children[base]; old != nil {
		kind, was := n.mode.Type(), old.mode.Type()
		switch {
		case kind != was && old.builtin && old.mode.IsDir() && len(old.children) == 0:
			// The kernel removes the directory.
		case kind != was && (n.mode.IsDir() || old.mode.IsDir()):
			return fmt.Errorf("it is %s, and already there as %s: want a name that isn't taken", kindName(kind), kindName(was))
		case old.names > 1:
			return fmt.Errorf("it is already there as one of %d names of a file: want a name that isn't taken", old.names)
		case old == n:
			return errors.New("it is a hard link to itself")
		case old.mode.IsDir():
			old.mode, old.builtin = n.mode, false
			return nil
		}
	}
	n.names++
	dir.children[base] = n
	return nil
}

// imply makes the directories that are missing on a path.
func (a *Archive) imply(name string) error {
	for at := range name {
		if name[at] == '/' {
			if err := a.implyOne(name[:at]); err != nil {
				return err
			}
		}
	}
	return a.implyOne(name)
}

func (a *Archive) implyOne(name string) error {
	dir, err := a.find(name, true, &a.steps)
	switch {
	case err == nil && !dir.mode.IsDir():
		return fmt.Errorf("want a directory at %.300q, found %s", name, kindName(dir.mode.Type()))
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := a.find(name, false, &a.steps); err == nil {
		return fmt.Errorf("it is behind the link %.300q, which leads to no directory of this initrd: where it will be can't be told", name)
	}
	return a.add(name, &node{mode: fs.ModeDir | 0o755, children: make(map[string]*node)})
}

// errSteps is the error of find after too many steps.
var errSteps = fmt.Errorf("the paths of the members take more than %d steps", maxSteps)

// linkParts returns the names that a symbolic link leads through.
func linkParts(target string) (parts []string) {
	last := ""
	for last = range strings.SplitSeq(target, "/") {
		if last != "" && last != "." {
			parts = append(parts, last)
		}
	}
	if len(parts) > 0 && (last == "" || last == ".") {
		parts = append(parts, ".") // which asks for a directory
	}
	return parts
}

// find returns the node at a path, see fs.ValidPath. If follow is set, it follows a link at
// the end of the path too. It counts its steps, and fails after too many.
func (a *Archive) find(name string, follow bool, steps *int) (*node, error) {
	links := 0
	// Every part leads one step down or up the trail. The parts of a link are put on top of
	// the parts that follow it.
	trail, stack := []*node{a.root}, [][]string{strings.Split(name, "/")}
	for len(stack) > 0 {
		top := len(stack) - 1
		if len(stack[top]) == 0 {
			stack = stack[:top]
			continue
		}
		if *steps++; *steps > maxSteps {
			return nil, errSteps
		}
		part := stack[top][0]
		if stack[top] = stack[top][1:]; len(stack[top]) == 0 {
			stack = stack[:top]
		}
		here := trail[len(trail)-1]
		if !here.mode.IsDir() {
			return nil, fs.ErrNotExist
		}
		switch part {
		case "", ".":
			continue
		case "..":
			trail = trail[:max(1, len(trail)-1)]
			continue
		}
		next := here.children[part]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		if next.mode.Type() == fs.ModeSymlink && (follow || len(stack) > 0) {
			if links++; links > maxLinks {
				return nil, errors.New("too many symbolic links")
			}
			if strings.HasPrefix(next.link, "/") {
				trail = trail[:1]
			}
			stack = append(stack, next.parts)
			continue
		}
		trail = append(trail, next)
	}
	return trail[len(trail)-1], nil
}
