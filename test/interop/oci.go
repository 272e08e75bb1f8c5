package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// containerImages compares what mkimage and cfsctl make of the container images in a
// directory of layouts: each pulls into a repository of its own, and then both work on both
// repositories.
func (s *session) containerImages(layouts string) error {
	layouts, err := filepath.Abs(layouts)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		for _, format := range []string{"v1", "v2"} { // cfsctl can't pull into repositories of V0
			if err := s.repositories(layouts, hash, format); err != nil {
				return err
			}
		}
	}
	return nil
}

// pulled are the layouts that both pull, with the tag of the image if there are several. Not
// among them is seal-label, which names an image that is nowhere: cfsctl oci fsck wants it.
var pulled = []string{
	"basic-gzip", "basic-plain", "bootable", "chardev-00", "empty-layer", "hardlinks-cross-layer", "mtimes", "multi-arch-flat",
	"odd-names-pax", "root-entry", "selinux-rules", "two-tags:two", "whiteouts", "with-referrer:img", "xattrs",
}

// both are two repositories with the same images: ours was filled by mkimage, theirs by cfsctl.
type both struct {
	*session
	ours, theirs string
}

func (s *session) repositories(layouts, hash, format string) error {
	dir, err := os.MkdirTemp(s.dir, "oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := both{s, filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")}
	settings := hash + " " + format
	if err := all(
		func() error {
			return b.must("init", settings, s.mkimage.with("repo", "init", "--digest", hash, "--format", format, b.ours))
		},
		func() error {
			return b.must("init", settings, s.cfsctl.with("--erofs-version", strings.TrimPrefix(format, "v"), "init", "--insecure", "--algorithm", "fsverity-"+hash+"-12", b.theirs))
		},
	); err != nil {
		return err
	}
	for _, name := range pulled {
		if err := b.pull(layouts, name); err != nil {
			return err
		}
	}
	if err := b.sound(settings, "fsck"); err != nil {
		return err
	}
	// Each goes on in the other's repository: nothing is fetched, made or changed.
	b.ours, b.theirs = b.theirs, b.ours
	for _, name := range pulled {
		if err := b.pull(layouts, name); err != nil {
			return err
		}
	}
	if err := b.sound(settings, "fsck after the other's pull"); err != nil {
		return err
	}
	return b.collect(settings)
}

// pull has both pull an image, and compares what they say of it.
func (b *both) pull(layouts, name string) error {
	layout, _, _ := strings.Cut(name, ":")
	tag := layout
	from := "oci:" + filepath.Join(layouts, name)
	about := &subject{what: "layout " + name}
	mine := []string{"oci", "pull", "--quiet", "--platform", "linux/amd64", "--whiteouts", "in-order", "--repo", b.ours, from, tag}
	yours := []string{"--repo", b.theirs, "oci", "pull", from, tag}
	bootable := layout == "bootable" || layout == "selinux-rules"
	if bootable {
		mine, yours = append(mine, "--bootable"), append(yours, "--bootable")
	}
	if err := all(
		func() error { return b.must("oci pull", about.what, b.mkimage.with(mine...)) },
		func() error { return b.must("oci pull", about.what, b.cfsctl.with(yours...)) },
	); err != nil {
		return err
	}
	dumps := [][]string{nil}
	if bootable {
		dumps = append(dumps, []string{"--bootable"})
	}
	for _, flags := range dumps {
		for _, repo := range []string{b.ours, b.theirs} {
			ours := b.mkimage.with(append([]string{"oci", "dump", "--quiet", "--whiteouts", "in-order", "--repo", repo, tag}, flags...)...)
			theirs := b.cfsctl.with(append([]string{"--repo", repo, "oci", "dump", tag}, flags...)...)
			if _, err := b.ask("oci dump", about, ours, theirs); err != nil {
				return err
			}
		}
	}
	for _, question := range [][]string{{"inspect", tag}, {"inspect", "--manifest", tag}, {"inspect", "--config", tag}, {"compute-id", tag}} {
		ask := func(repo string) call { return b.cfsctl.with(append([]string{"--repo", repo, "oci"}, question...)...) }
		if _, err := b.ask("cfsctl oci "+question[0]+", ours and theirs", about, ask(b.ours), ask(b.theirs)); err != nil {
			return err
		}
	}
	return nil
}

// sound checks both repositories by both programs.
func (b *both) sound(settings, row string) error {
	for _, repo := range []string{b.ours, b.theirs} {
		for _, check := range []call{
			b.mkimage.with("repo", "fsck", repo),
			b.cfsctl.with("--repo", repo, "fsck"),
			b.cfsctl.with("--repo", repo, "oci", "fsck"),
		} {
			if err := b.must(row, settings, check); err != nil {
				return err
			}
		}
	}
	list := func(repo string) call { return b.cfsctl.with("--repo", repo, "oci", "images", "--json") }
	a, err := b.call(list(b.ours))
	if err != nil {
		return err
	}
	t, err := b.call(list(b.theirs))
	if err != nil {
		return err
	}
	// They come in the order of the directory.
	b.add(check{row: "cfsctl oci images, ours and theirs", what: settings, call: list(b.ours), peer: list(b.theirs), ours: sorted(a), theirs: sorted(t)})
	return nil
}

// collect removes an image from both repositories, each by the other program, and what it
// alone needed. After that all objects must be the same.
func (b *both) collect(settings string) error {
	for _, repo := range []string{b.ours, b.theirs} {
		untag, gc := b.mkimage.with("oci", "untag", "--repo", repo, "bootable"), b.mkimage.with("repo", "gc", repo)
		if repo == b.theirs {
			untag, gc = b.cfsctl.with("--repo", repo, "oci", "untag", "bootable"), b.cfsctl.with("--repo", repo, "gc")
		}
		for _, c := range []call{untag, gc} {
			if err := b.must("gc", settings, c); err != nil {
				return err
			}
		}
		// The other finds nothing more.
		if err := b.nothingLeft(settings, repo); err != nil {
			return err
		}
	}
	return b.sound(settings, "fsck after gc")
}

func (b *both) nothingLeft(settings, repo string) error {
	ours, theirs := b.mkimage.with("repo", "gc", "--dry-run", repo), b.cfsctl.with("--repo", repo, "gc", "-n")
	o, err := b.call(ours)
	if err != nil {
		return err
	}
	t, err := b.call(theirs)
	if err != nil {
		return err
	}
	none := func(r result, words string) result {
		if r.status == 0 && strings.Contains(string(r.out), words) {
			r.out = []byte("nothing")
		}
		return r
	}
	b.add(check{row: "gc after the other's gc", what: settings, call: ours, peer: theirs,
		ours: none(o, "would be removed: 0 objects"), theirs: none(t, "Objects: 0 removed")})
	return nil
}

func (b *both) call(c call) (result, error) { return c.run(c.in, c.env, c.args...) }

// must counts a call that must succeed, whatever it prints.
func (b *both) must(row, what string, c call) error {
	r, err := b.call(c)
	if err != nil {
		return err
	}
	r.out = nil
	b.add(check{row: fmt.Sprintf("%s succeeds, %s", row, c.name), what: what, call: c, peer: call{program: program{name: "a program that succeeds"}}, ours: r})
	return nil
}

// sorted has the lines in order.
func sorted(r result) result {
	lines := strings.Split(string(r.out), "},")
	for i := range lines {
		lines[i] = strings.Trim(lines[i], " \n[]{}")
	}
	r.out = []byte(strings.Join(slices.Sorted(slices.Values(lines)), "\n"))
	return r
}
