package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
)

type pushOptions struct {
	repo     string
	platform string
	sealed   bool
	bootable bool
}

const ociPushLong = `Push puts an image of the repository into a registry or an OCI layout. REF is one of

  oci:DIR[:TAG]              OCI layout, which is made if it doesn't exist
  docker://HOST/NAME[:TAG]   registry, with the credentials of docker login and podman login

IMAGE is a container image, by its tag or by sha256:HEX, the digest of its manifest; or a
composefs image, by its digest or a ref. A container image keeps its configuration, and so
its diff_ids; the manifest is a new one. A composefs image becomes a container image with
one layer, for the platform that --platform names.

Layers are compressed as zstd:chunked. Any program that knows zstd unpacks them, and one
that knows the table of contents in them fetches single files. What is there already isn't
sent again. Everything that is sent is compared with its digest first.

With --sealed, the composefs images and their seals go along, as artifacts that refer to the
container image. mkimage oci pull --keys takes exactly these images, and fetches only the
files that a machine lacks. Of a container image, all its images that have a seal are taken.
That a composefs image is one to boot, as mkimage build --boot makes it, is said with
--bootable.

It prints the digest of the manifest.`

func newOCIPush(u *ui) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push --repo DIR [--sealed] IMAGE REF",
		Short: "put an image of a repository into a registry or a layout",
		Long:  ociPushLong,
		Example: "  mkimage oci push --repo repo os:42 docker://HOST/NAME:42\n" +
			"  mkimage oci push --repo repo --sealed --bootable --platform linux/amd64 debian/13 docker://HOST/NAME:13",
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, u, args[0], args[1])
		},
	}
	f := cmd.Flags()
	ociRepoFlag(cmd, &o.repo)
	f.StringVar(&o.platform, "platform", "", "`OS/ARCH[/VARIANT]` that a composefs image is for, as in linux/amd64")
	f.BoolVar(&o.sealed, "sealed", false, "put the composefs images with their seals there too")
	f.BoolVar(&o.bootable, "bootable", false, "with --sealed: the composefs image is one to boot")
	return cmd
}

// pushReport is what oci push reports.
type pushReport struct {
	Digest string        `json:"digest"`
	Layers int           `json:"layers"`
	Sent   int           `json:"sent"`
	Bytes  int64         `json:"bytes"`
	Sealed []storedImage `json:"sealed,omitempty"`
}

func (o *pushOptions) run(cmd *cobra.Command, u *ui, name, ref string) error {
	if err := requireRepo(cmd, o.repo); err != nil {
		return err
	}
	reference, err := oci.ParseReference(ref)
	if err == nil {
		err = reference.CheckDestination()
	}
	if err != nil {
		return usagef(cmd, "REF: %w", err)
	}
	if err := oci.CheckPlatform(o.platform); err != nil {
		return usagef(cmd, "--platform: %w", err)
	}
	if o.bootable && !o.sealed {
		return usagef(cmd, "--bootable goes with --sealed")
	}
	return inRepo(cmd, u, o.repo, func(r *repo.Repo) error {
		image, sealed, err := o.find(cmd, r, name)
		if err != nil {
			return err
		}
		to, err := oci.Create(cmd.Context(), reference, oci.Options{})
		if err != nil {
			return adviseSource(err)
		}
		defer to.Close()
		return o.push(cmd, u, r, image, sealed, to)
	})
}

// find returns the image to push, and the composefs images whose seals go along.
func (o *pushOptions) find(cmd *cobra.Command, r *repo.Repo, name string) (release.Image, []release.Composefs, error) {
	stored, err := ocistore.Find(r, name)
	if errors.Is(err, ocistore.ErrNoTag) || errors.Is(err, ocistore.ErrTag) {
		return o.findComposefs(cmd, r, name, err)
	}
	if err != nil {
		return release.Image{}, nil, err
	}
	if o.platform != "" || o.bootable {
		return release.Image{}, nil, usagef(cmd, "%s is a container image, and --platform and --bootable are for composefs images", name)
	}
	image, err := release.FromContainer(stored)
	if err != nil || !o.sealed {
		return image, nil, err
	}
	var sealed []release.Composefs
	for _, i := range stored.Images {
		if _, err := r.ReadSeal(i.Digest); err == nil {
			sealed = append(sealed, release.Composefs(i))
		}
	}
	if len(sealed) == 0 {
		return image, nil, fmt.Errorf("none of the composefs images of %s has a seal: %w", name, release.ErrNoSeal)
	}
	return image, sealed, nil
}

func (o *pushOptions) findComposefs(cmd *cobra.Command, r *repo.Repo, name string, noTag error) (release.Image, []release.Composefs, error) {
	d, err := r.Resolve(name)
	if errors.Is(err, repo.ErrNoImage) {
		return release.Image{}, nil, fmt.Errorf("%w, nor is there a composefs image of that name", noTag)
	}
	if err != nil {
		return release.Image{}, nil, err
	}
	if o.platform == "" {
		return release.Image{}, nil, usagef(cmd, "%s is a composefs image: say what it is for with --platform OS/ARCH, as in linux/amd64", name)
	}
	image, format, err := release.FromImage(r, d, o.platform)
	if err != nil || !o.sealed {
		return image, nil, err
	}
	return image, []release.Composefs{{Digest: d, Format: format, Bootable: o.bootable}}, nil
}

func (o *pushOptions) push(cmd *cobra.Command, u *ui, r *repo.Repo, image release.Image, sealed []release.Composefs, to oci.Destination) error {
	u.progress.start("compressing and sending layers")
	defer u.progress.stop()
	done, err := release.Push(cmd.Context(), image, to, release.PushOptions{Progress: u.progress.file})
	if err != nil {
		return adviseSource(err)
	}
	report := pushReport{Digest: done.Manifest.Digest(), Layers: done.Layers, Sent: done.Sent, Bytes: done.Bytes}
	for _, c := range sealed {
		if _, err := release.PushSeal(cmd.Context(), r, c, done, to); err != nil {
			return adviseSource(err)
		}
		report.Sealed = append(report.Sealed, storedImage{c.Digest, c.Digest.Hex(), fmt.Sprintf("v%d", c.Format), c.Bootable})
	}
	u.progress.stop()
	if done.Plain > 0 {
		u.remark("%s can have no table of contents, for names of files in it that aren't UTF-8 or the like: clients have to fetch it whole", countOf(int64(done.Plain), "layer"))
	}
	return u.result(report, report.Digest)
}
