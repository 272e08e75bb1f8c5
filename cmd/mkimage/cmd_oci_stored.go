package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
)

// ociTag is a tag that oci list reports.
type ociTag struct {
	Tag      string        `json:"tag"`
	Digest   string        `json:"digest,omitempty"`
	Platform string        `json:"platform,omitempty"`
	Created  string        `json:"created,omitempty"`
	Artifact bool          `json:"artifact,omitempty"`
	Layers   []string      `json:"layers,omitempty"`
	Images   []storedImage `json:"images,omitempty"`
	Problem  string        `json:"problem,omitempty"`
}

func newOCIList(u *ui) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "list --repo DIR",
		Short: "list the container images in a repository",
		Long: `List prints a line for each tag in the repository: the tag, the digest of the manifest,
the platform, and the digests of the composefs images made of the container image.

Manifests and configurations are compared with their digests; the layers aren't read. A tag
whose image is damaged or missing is listed with the problem, and the exit status is 5.`,
		Example: "  mkimage oci list --repo repo",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inRepo(cmd, u, dir, func(r *repo.Repo) error {
				tags, err := ocistore.List(r)
				if err != nil {
					return err
				}
				list, text, bad := reportTags(tags)
				if err := u.listing(list, text); err != nil {
					return err
				}
				if bad != nil {
					return fmt.Errorf("tag %q: %w", bad.Tag, bad.Err)
				}
				return nil
			})
		},
	}
	ociRepoFlag(cmd, &dir)
	return cmd
}

// reportTags returns the first tag with a problem too.
func reportTags(tags []ocistore.Tagged) (list []ociTag, text string, bad *ocistore.Tagged) {
	list = []ociTag{}
	var b strings.Builder
	for _, t := range tags {
		if t.Err != nil {
			if bad == nil {
				bad = &t
			}
			list = append(list, ociTag{Tag: t.Tag, Problem: t.Err.Error()})
			fmt.Fprintf(&b, "%s  damaged\n", printable.Line(t.Tag))
			continue
		}
		i := t.Image
		of := ociTag{Tag: t.Tag, Digest: i.Digest, Platform: i.Platform, Artifact: i.Artifact, Layers: i.DiffIDs, Images: reportImages(i.Images)}
		if !i.Created.IsZero() {
			of.Created = i.Created.UTC().Format(time.RFC3339)
		}
		list = append(list, of)
		what := printable.Line(i.Platform)
		if i.Artifact {
			what = "artifact"
		}
		fmt.Fprintf(&b, "%s  %s  %s\n", printable.Line(t.Tag), i.Digest, what)
		for _, image := range of.Images {
			kind := "plain"
			if image.Bootable {
				kind = "bootable"
			}
			fmt.Fprintf(&b, "    %s  %s, %s\n", image.Hex, image.Format, kind)
		}
	}
	return list, strings.TrimSuffix(b.String(), "\n"), bad
}

// listing is result for a list, whose text may be empty.
func (u *ui) listing(value any, text string) error {
	if text == "" && !u.json {
		return nil
	}
	return u.result(value, text)
}

// inRepo calls a function with an open repository.
func inRepo(cmd *cobra.Command, u *ui, dir string, f func(*repo.Repo) error) error {
	if err := requireRepo(cmd, dir); err != nil {
		return err
	}
	r, err := openRepo(u, dir)
	if err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}

func newOCITag(u *ui) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "tag --repo DIR IMAGE TAG",
		Short: "give a container image in a repository a further tag",
		Long: `Tag gives the container image IMAGE the tag TAG. IMAGE is a tag or sha256:HEX, the digest
of a manifest. If another image has that tag, it loses it.

The tag is set only if IMAGE is in the repository.`,
		Example: "  mkimage oci tag --repo repo os:42 os:stable",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ocistore.CheckTag(args[1]); err != nil {
				return usagef(cmd, "TAG: %w", err)
			}
			return inRepo(cmd, u, dir, func(r *repo.Repo) error { return ocistore.Tag(r, args[0], args[1]) })
		},
	}
	ociRepoFlag(cmd, &dir)
	return cmd
}

func newOCIUntag(u *ui) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "untag --repo DIR TAG",
		Short: "remove a tag of a container image in a repository",
		Long: `Untag removes the tag TAG. The container image stays until mkimage repo gc removes what no
tag, ref or seal needs.`,
		Example: "  mkimage oci untag --repo repo os:42",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ocistore.CheckTag(args[0]); err != nil {
				return usagef(cmd, "TAG: %w", err)
			}
			return inRepo(cmd, u, dir, func(r *repo.Repo) error { return ocistore.Untag(r, args[0]) })
		},
	}
	ociRepoFlag(cmd, &dir)
	return cmd
}

func newOCIDump(u *ui) *cobra.Command {
	var dir string
	var bootable bool
	var read sourceFlags
	cmd := &cobra.Command{
		Use:   "dump --repo DIR IMAGE",
		Short: "print a container image in a repository as text",
		Long: `Dump prints the tree that a container image makes in composefs-dump format, as cfsctl oci
dump does. IMAGE is a tag or sha256:HEX, the digest of a manifest. The tree is made from
the layers in the repository, by the rules of --whiteouts and --follow-layer-links; the
contents of files aren't read.`,
		Example: "  mkimage oci dump --repo repo os:stable",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if u.json {
				return usagef(cmd, "dump has a format of its own")
			}
			if err := read.check(); err != nil {
				return usagef(cmd, "%w", err)
			}
			return inRepo(cmd, u, dir, func(r *repo.Repo) error {
				image, err := ocistore.Find(r, args[0])
				if err != nil {
					return err
				}
				about := func() string { return args[0] }
				root, err := image.Tree(cmd.Context(), bootable, read.layerOptions(u, about), source.ObjectContent(r.OpenObject))
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], adviseBoot(adviseSource(err), true))
				}
				return dumpfile.Rust.Write(u.out, root)
			})
		},
	}
	ociRepoFlag(cmd, &dir)
	cmd.Flags().BoolVar(&bootable, "bootable", false, "print the tree to boot from")
	read.addReplay(cmd)
	return cmd
}
