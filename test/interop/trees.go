package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/testing/testtree"
)

// randomTrees compares random directories, which have some of everything.
func (s *session) randomTrees(seeds uint64) error {
	for seed := range seeds {
		dir := filepath.Join(s.dir, fmt.Sprint("tree", seed))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := testtree.Grow(dir, seed); err != nil {
			return err
		}
		about := &subject{what: fmt.Sprint("the random tree of seed ", seed), dir: dir, small: true, record: s.records.of(seed)}
		if err := s.directory("random trees", about); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// rootTree compares a root file system.
func (s *session) rootTree(dir string) error {
	if dir == "" {
		return nil
	}
	return s.directory("a root file system", &subject{what: dir, dir: dir})
}

// directory compares everything that can be made from a directory.
func (s *session) directory(kind string, about *subject) error {
	image := filepath.Join(s.dir, "image")
	if _, err := s.must(s.mkimage.with("build", "--quiet", "--format", "v0", "--output", image, about.dir)); err != nil {
		return err
	}
	dump, err := s.must(s.mkimage.with("dump", image))
	if err != nil {
		return err
	}
	about.dump, about.both = dump.out, true
	if about.tree, err = dumpfile.Parse(bytes.NewReader(about.dump)); err != nil {
		return err
	}
	return all(
		func() error { return s.mkcomposefsOf(kind, about) },
		func() error { return s.linksOf(kind, about) },
		func() error { return s.storeOf(kind, about) },
		func() error { return s.rustOf(kind, about) },
		func() error { return s.rustDumpOf(kind, about) },
		func() error { return s.imagesOf(kind, about, versions[1:3]...) },
	)
}

// must runs one of ours.
func (s *session) must(c call) (result, error) {
	r, err := c.run(c.in, c.env, c.args...)
	if err == nil && r.status != 0 {
		err = fmt.Errorf("%s: exit status %d: %s", c, r.status, r.stderr)
	}
	return r, err
}

// versions are the options with which mkcomposefs is asked for a version.
var versions = [][]string{nil, {"--min-version=1"}, {"--min-version=0", "--max-version=0"}, {"--max-version=1"}}

// mkcomposefsOf compares mkcomposefs and its options.
func (s *session) mkcomposefsOf(kind string, about *subject) error {
	options := versions[:3]
	if about.small {
		options = slices.Concat(versions, [][]string{
			{"--use-epoch"}, {"--skip-xattrs"}, {"--user-xattrs"}, {"--skip-devices", "--min-version=1"},
		})
	}
	for _, o := range options {
		args := append(slices.Clone(o), "--print-digest-only", about.dir)
		if _, err := s.ask("mkcomposefs of "+kind+", C", about, s.mkcomposefs.with(args...), s.cMkcomposefs.with(args...)); err != nil {
			return err
		}
		if _, err := s.ask("mkcomposefs of "+kind+", Rust", about, s.mkcomposefs.with(args...), s.rsMkcomposefs.with(args...)); err != nil {
			return err
		}
	}
	return nil
}

// linksOf compares mkimage build, which keeps hard links, with C, which does so only
// for a dump.
func (s *session) linksOf(kind string, about *subject) error {
	for _, v := range []string{"0", "1"} {
		ours := s.mkimage.with("build", "--quiet", "--format", "v"+v, about.dir)
		theirs := s.cMkcomposefs.with("--from-file", "--min-version="+v, "--print-digest-only", "-").given(about.dump)
		if _, err := s.ask("mkimage build of "+kind+", C from our dump", about, ours, theirs); err != nil {
			return err
		}
	}
	return nil
}

// storeOf compares the files in a digest store, by name and content.
func (s *session) storeOf(kind string, about *subject) error {
	ours, theirs := filepath.Join(s.dir, "store"), filepath.Join(s.dir, "store.c")
	defer os.RemoveAll(ours)
	defer os.RemoveAll(theirs)
	image := filepath.Join(s.dir, "image")
	if _, err := s.ask("digest store of "+kind+", C", about,
		s.mkcomposefs.with("--digest-store="+ours, about.dir, image), s.cMkcomposefs.with("--digest-store="+theirs, about.dir, image+".c")); err != nil {
		return err
	}
	list := program{"list", []string{"sh", "-c", `cd "$0" && find . -mindepth 1 -printf '%P %m\n' | sort && find . -type f -print0 | sort -z | xargs -0r cat`}, ""}
	_, err := s.ask("digest store of "+kind+", C", about, list.with(ours), list.with(theirs))
	return err
}

// hashes and formats are the ones that cfsctl supports.
var (
	hashes  = []string{"sha256", "sha512"}
	formats = []string{"0", "1", "2"}
)

// rustOf compares digests with cfsctl's.
func (s *session) rustOf(kind string, about *subject) error {
	for _, hash := range hashes {
		for _, format := range formats {
			cfsctl := []string{"--no-repo", "--hash", hash, "--erofs-version", format, "compute-id", about.dir}
			build := []string{"build", "--quiet", "--digest", hash, "--format", "v" + format, about.dir}
			if _, err := s.ask("mkimage build of "+kind+", cfsctl", about,
				s.mkimage.with(build...), s.cfsctl.with(append(cfsctl, "--no-propagate-usr-to-root")...)); err != nil {
				return err
			}
			if format == "0" {
				continue
			}
			if _, err := s.ask("mkimage build --boot=composefs-rs-0.9.4 of "+kind+", cfsctl", about,
				s.mkimage.with(append(build, "--boot=composefs-rs-0.9.4")...), s.cfsctl.with(append(cfsctl, "--bootable")...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rustDumpOf compares the text of dumps.
func (s *session) rustDumpOf(kind string, about *subject) error {
	image := filepath.Join(s.dir, "image")
	for _, hash := range hashes {
		if _, err := s.must(s.mkimage.with("build", "--quiet", "--digest", hash, "--format", "v0", "--output", image, about.dir)); err != nil {
			return err
		}
		if _, err := s.ask("mkimage dump of "+kind+", cfsctl create-dumpfile", about, s.mkimage.with("dump", "--dialect", "rust", image),
			s.cfsctl.with("--no-repo", "--hash", hash, "create-dumpfile", "--no-propagate-usr-to-root", about.dir)); err != nil {
			return err
		}
	}
	return nil
}
