package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
)

// checkInside refuses to write to where the source is read from. What is in a directory
// would be in the next image of it, and in that image's digest; to leave it out silently
// would give a digest that nobody gets who has the same directory.
func (o *buildOptions) checkInside() error {
	for _, out := range []struct {
		flag, name string
		dir        bool
	}{
		{"--repo", o.repo, true}, {"--output", o.output, false}, {"--cache", o.read.cache, false}, {"--one-use-key", o.seal.oneUse, false},
	} {
		if out.name == "" || standardOutputs[out.name] {
			continue
		}
		path, err := osfile.FollowLinks(out.name)
		if err != nil || !out.dir && isStream(path) {
			continue // whoever writes there says what is wrong
		}
		if !isDirectory(o.source) {
			if _, operand, _ := findSource(o.source); sameFile(path, operand) {
				return fmt.Errorf("%s: %s is SOURCE too: name another file", out.flag, out.name)
			}
			continue
		}
		if st, err := os.Stat(path); err == nil && st.IsDir() && !out.dir {
			continue
		}
		if sameDirectory(path, o.source) {
			return fmt.Errorf("%s: %s is SOURCE itself: name another directory", out.flag, out.name)
		}
		if o.reads(path) {
			return fmt.Errorf("%s: %s is inside %s, and would be in the next image made of it: name a place outside", out.flag, out.name, o.source)
		}
	}
	return nil
}

// reads reports whether the build would meet what is at a path.
func (o *buildOptions) reads(path string) bool {
	top, topMount, err := identify(o.source)
	if err != nil {
		return false
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return false
	}
	first := "" // name of what is met in the source
	for {
		st, mount, err := identify(path)
		switch {
		case err != nil: // it will be made
		case os.SameFile(st, top):
			return o.boot == "" || !slices.Contains(emptied, first)
		case mount != topMount && o.read.mounts != "include":
			return false
		}
		if path == "/" {
			return false
		}
		first, path = filepath.Base(path), filepath.Dir(path)
	}
}

func sameDirectory(a, b string) bool {
	first, errA := os.Stat(a)
	second, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(first, second)
}

// identify tells which file is at a path, and in which mount.
func identify(path string) (os.FileInfo, uint64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	var x unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &x)
	return st, x.Mnt_id, err
}

// sameFile reports whether a path is among the files of a list.
func sameFile(path, list string) bool {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	return slices.ContainsFunc(strings.Split(list, ","), func(name string) bool {
		other, err := os.Stat(name)
		return err == nil && os.SameFile(st, other)
	})
}
