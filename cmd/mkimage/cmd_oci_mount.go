package main

import (
	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

func newOCIMount(u *ui) *cobra.Command {
	var o mountOptions
	var bootable bool
	cmd := &cobra.Command{
		Use:   "mount --repo DIR IMAGE DIR",
		Short: "mount the composefs image of a container image in a repository",
		Long: `Mount mounts the composefs image that was made of the container image IMAGE, a tag or
sha256:HEX, the digest of a manifest, as mkimage mount does with the image's digest. With
--bootable it is the image to boot.`,
		Example: "  mkimage oci mount --repo repo os:stable /mnt",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := requireRepo(cmd, o.repo); err != nil {
				return err
			}
			return o.mount(cmd, u, args[0], args[1])
		},
	}
	o.find = func(r *repo.Repo, name string) (verity.Digest, error) {
		stored, err := ocistore.Find(r, name)
		if err != nil {
			return verity.Digest{}, err
		}
		image, err := stored.Image(bootable)
		return image.Digest, err
	}
	ociRepoFlag(cmd, &o.repo)
	cmd.Flags().BoolVar(&bootable, "bootable", false, "mount the image to boot")
	o.flags(cmd)
	return cmd
}
