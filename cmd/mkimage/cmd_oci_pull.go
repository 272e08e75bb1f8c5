package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

type pullOptions struct {
	read     sourceFlags
	repo     string
	bootable bool
	sealed   sealedOptions
}

const ociPullLong = `Pull takes a container image into a repository, as cfsctl oci pull does: its manifest, its
configuration, its layers, whose files become objects, and the composefs image that it
makes. REF is one of

` + referenceHelp + `

It prints the digest of the composefs image; with --bootable, of the one to boot from. TAG
is what oci list, oci tag and oci dump call the container image, and cfsctl too; without
it, that is REF.

A layer that is in the repository isn't fetched again. It and its objects are checked, and
replaced if they are damaged; objects with fs-verity are checked by the kernel, all others
are read. A pull that was interrupted goes on with the layers that are missing. The tag
comes last: an image that has one is complete.

The composefs image is the one that mkimage oci compute-id describes. For one with the
remarks and the mount points of mkimage build --boot, build from REF instead.

With --keys, REF is a release of mkimage oci push --sealed, and pull takes the sealed
composefs image out of it, with its seal, as it was signed. The seal must be by one of the
keys, and nothing else that the registry says is believed: every object is hashed before it
has its name. Of several images, the one with the highest sequence is taken; with --bootable,
of the ones to boot. Only the objects that the repository lacks are fetched, by the tables
of contents of the layers, if the registry sends parts of files; otherwise whole layers. The
image has no tag then: name it with --ref. With --check, the image is made again of the
layers as well, which are all fetched for that; if it is another one, the first file that
differs is named.`

func newOCIPull(u *ui) *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use:   "pull --repo DIR [--keys FILE|DIR] REF [TAG]",
		Short: "take a container image or a sealed image into a repository",
		Long:  ociPullLong,
		Example: "  mkimage oci pull --repo repo --bootable docker://HOST/NAME:TAG os\n" +
			"  mkimage oci pull --repo repo --bootable --keys mykey.pub --ref stable docker://HOST/NAME:TAG",
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, u, args)
		},
	}
	f := cmd.Flags()
	ociRepoFlag(cmd, &o.repo)
	f.BoolVar(&o.bootable, "bootable", false, "make an image to boot from too, as composefs-rs 0.9.4 does; with --keys: take the one to boot")
	o.sealed.flags(cmd)
	o.read.addLayers(cmd)
	return cmd
}

// ociRepoFlag is the flag of all commands about the container images in a repository.
func ociRepoFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "repo", "", "repository `DIR`")
}

// requireRepo refuses a command line without --repo.
func requireRepo(cmd *cobra.Command, dir string) error {
	if dir == "" {
		return usagef(cmd, "want --repo DIR")
	}
	return nil
}

// pullReport is what oci pull reports.
type pullReport struct {
	Digest       string        `json:"digest"`
	ConfigDigest string        `json:"config-digest"`
	Tag          string        `json:"tag"`
	Images       []storedImage `json:"images"`
	Layers       int           `json:"layers"`
	Fetched      int           `json:"fetched"`
	Objects      repo.Stats    `json:"objects"`
}

// A storedImage is a composefs image made of a container image.
type storedImage struct {
	Digest   verity.Digest `json:"digest"`
	Hex      string        `json:"hex"`
	Format   string        `json:"format"`
	Bootable bool          `json:"bootable"`
}

func reportImages(images []ocistore.Image) []storedImage {
	all := []storedImage{}
	for _, i := range images {
		all = append(all, storedImage{i.Digest, i.Digest.Hex(), fmt.Sprintf("v%d", i.Format), i.Bootable})
	}
	return all
}

func (o *pullOptions) run(cmd *cobra.Command, u *ui, args []string) error {
	if err := requireRepo(cmd, o.repo); err != nil {
		return err
	}
	reference, err := oci.ParseReference(args[0])
	if err != nil {
		return usagef(cmd, "REF: %w", err)
	}
	if err := o.read.check(); err != nil {
		return usagef(cmd, "%w", err)
	}
	if err := o.sealed.check(cmd, len(args)); err != nil {
		return err
	}
	if o.sealed.asked() {
		return o.runSealed(cmd, u, args[0])
	}
	tag := args[len(args)-1]
	if err := ocistore.CheckTag(tag); err != nil {
		return usagef(cmd, "TAG: %w", err)
	}
	image, err := openImage(cmd, u, args[0], o.read.Image.Platform, "taken")
	if err != nil {
		return err
	}
	defer image.Close()
	meta, err := (&buildOptions{repo: o.repo}).settings(cmd, u)
	if err != nil {
		return err
	}
	done, err := o.pull(cmd, u, image, reference.String(), tag, meta)
	if err != nil {
		return err
	}
	if done.Stats.Damaged > 0 || done.Replaced > 0 {
		u.remark("%s was damaged: %s", o.repo, replacedParts(done))
	}
	for _, i := range done.Superseded {
		u.remark("%s also made the image %s, by other options: no tag keeps that any more; a ref or a seal would", args[0], i.Digest.Hex())
	}
	report := pullReport{done.Manifest, done.Config, tag, reportImages(done.Images), done.Layers, done.Layers - done.Stored, done.Stats}
	return u.result(report, printed(done.Images, o.bootable))
}

// replacedParts says what a pull has replaced.
func replacedParts(done ocistore.Pulled) string {
	var parts []string
	if n := done.Stats.Damaged; n > 0 {
		parts = append(parts, countOf(n, "object")+" replaced")
	}
	if n := done.Replaced; n > 0 {
		parts = append(parts, countOf(int64(n), "layer")+" read again")
	}
	return strings.Join(parts, ", ")
}

func countOf(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printed returns the digests to print, one a line: of the image in each format of the
// repository.
func printed(images []ocistore.Image, bootable bool) string {
	var lines []string
	for _, i := range images {
		if i.Bootable == bootable {
			lines = append(lines, i.Digest.Hex())
		}
	}
	return strings.Join(lines, "\n")
}

func (o *pullOptions) pull(cmd *cobra.Command, u *ui, image *oci.Image, name, tag string, meta repo.Meta) (_ ocistore.Pulled, err error) {
	r, err := locking(u, o.repo, func() (*repo.Repo, error) { return repo.Init(o.repo, meta) })
	if err != nil {
		return ocistore.Pulled{}, err
	}
	defer closeOrDiscard(r, &err)
	current := name
	tar := o.read.layerOptions(u, func() string { return current })
	defer u.progress.stop()
	done, err := ocistore.Pull(cmd.Context(), r, image, ocistore.Options{
		Tag: tag, Bootable: o.bootable, Tar: tar,
		Layer: func(l oci.Layer, stored bool) {
			current = fmt.Sprintf("%s, layer %d", name, l.Number)
			what := "reading"
			if stored {
				what = "checking"
			}
			u.progress.start(fmt.Sprintf("%s layer %d of %d, %s", what, l.Number, len(image.Layers), size(l.Size)))
		},
	})
	if err != nil {
		return done, o.explain(name, err)
	}
	return done, nil
}

// explain says which image an error is about, and what to do.
func (o *pullOptions) explain(name string, err error) error {
	var layer *ocistore.LayerError
	if errors.As(err, &layer) {
		return adviseSource(&source.FileError{Name: name, Err: err})
	}
	var layout *transform.LayoutError
	if errors.As(err, &layout) && layout.Directory != "usr" {
		return fmt.Errorf("%s: %w; mkimage build --boot --repo makes what is missing", name, err)
	}
	if errors.Is(err, transform.ErrLayout) {
		return fmt.Errorf("%s: %w: it is no image of a whole system; mkimage build --repo stores any tree", name, err)
	}
	return fmt.Errorf("%s: %w", name, adviseBoot(err, true))
}

// layerOptions are the options for the layers of an image. about says what a remark is about.
func (s *sourceFlags) layerOptions(u *ui, about func() string) tarball.Options {
	return tarball.Options{
		MaxEntries: s.Tar.MaxEntries, MaxExpansion: s.Tar.MaxExpansion,
		InOrder: s.Tar.InOrder, FollowLinks: s.Tar.FollowLinks, Strict: s.Tar.Strict,
		Progress: u.progress.file,
		Remark: func(err error) {
			u.remark("%v", adviseSourceRemark(&source.FileError{Name: about(), Err: err}))
		},
	}
}
