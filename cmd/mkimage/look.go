package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/verity"
)

// lookOptions say where a command finds its images, and which part of them it reads.
type lookOptions struct {
	repo   string
	filter []string
	strict bool // each name of filter must be in one of the images
	u      *ui
}

func (o *lookOptions) flags(u *ui, cmd *cobra.Command) {
	o.u = u
	cmd.Flags().StringVar(&o.repo, "repo", "", "take images by digest or ref from the repository `DIR`")
}

func (o *lookOptions) filterFlag(cmd *cobra.Command) {
	o.strict = true
	cmd.Flags().StringArrayVar(&o.filter, "filter", nil, "only the file or directory `NAME` at the top of the image, with everything below it (repeatable)")
}

// check finds filters that could never match.
func (o *lookOptions) check() error {
	for _, name := range o.filter {
		if strings.Contains(name, "/") {
			return fmt.Errorf("--filter: want the name of a file at the top, found %q", name)
		}
	}
	return nil
}

// open opens an image: a file or, with --repo, the image that a digest or ref names.
func (o *lookOptions) open(name string) (*os.File, error) {
	f, _, err := o.openNamed(name)
	return f, err
}

// openNamed is open. It also returns the digest by which the repository knows the image,
// zero for a file.
func (o *lookOptions) openNamed(name string) (*os.File, verity.Digest, error) {
	if o.repo == "" {
		f, err := filekind.Open(name, "a regular file")
		if _, notDigest := verity.ParseAnyHex(name); errors.Is(err, fs.ErrNotExist) && notDigest == nil {
			err = fmt.Errorf("%w; for an image of a repository say --repo DIR", err)
		}
		return f, verity.Digest{}, err
	}
	r, err := openRepo(o.u, o.repo)
	if err != nil {
		return nil, verity.Digest{}, err
	}
	defer r.Close()
	d, err := r.Resolve(name)
	if err != nil {
		return nil, d, err
	}
	f, err := r.OpenImage(d)
	return f, d, err
}

// readOf reads an image: all of it, or only the files at its top that have these names.
func (o *lookOptions) readOf(name string, only []string) (source.Image, error) {
	f, err := o.open(name)
	if err != nil {
		return source.Image{}, err
	}
	defer f.Close()
	return source.ReadImage(name, f, only...)
}

// each reads images one after the other, without what the filters leave out, and calls do
// for each.
func (o *lookOptions) each(names []string, do func(source.Image) error) error {
	return o.eachOf(names, o.filter, do)
}

// eachWhole is each without the filters.
func (o *lookOptions) eachWhole(names []string, do func(source.Image) error) error {
	return o.eachOf(names, nil, do)
}

func (o *lookOptions) eachOf(names, only []string, do func(source.Image) error) error {
	var lacking []string
	if o.strict {
		lacking = slices.Clone(o.filter)
	}
	for _, name := range names {
		m, err := o.readOf(name, only)
		if err == nil {
			lacking = slices.DeleteFunc(lacking, func(want string) bool { return m.Root.Lookup(want) != nil })
			err = do(m)
		}
		if err != nil {
			return err
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("--filter %s: want the name of a file at the top of %s, and there is none; mkimage ls without --filter shows what there is", lacking[0], strings.Join(names, " or "))
	}
	return nil
}

// objectPaths returns the paths of the objects of all images, each once, in order.
func (o *lookOptions) objectPaths(names []string) ([]string, error) {
	paths := []string{}
	err := o.each(names, func(m source.Image) error {
		paths = append(paths, listing.Paths(m.Root)...)
		slices.Sort(paths)
		paths = slices.Compact(paths)
		return nil
	})
	return paths, err
}
