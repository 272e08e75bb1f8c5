package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/repo"
)

func newSeal(u *ui) *cobra.Command {
	var o sealOptions
	var repoDir string
	cmd := &cobra.Command{
		Use:   "seal --repo DIR --key FILE --sequence N IMAGE",
		Short: "sign an image, so that machines with the key boot it",
		Long: `Seal writes a statement about IMAGE (a digest or a ref) into the repository and
signs it with minisign. A machine whose initramfs has the public key boots the
image only with such a seal, and only if the number isn't below its minimum.

Sealing with a second key adds a signature, if the statement is the same.`,
		Example: "  mkimage seal --repo repo --key mykey.key --sequence 42 debian/13",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if repoDir == "" || o.key == "" {
				return usagef(cmd, "seal needs --repo and --key")
			}
			if err := o.check(cmd); err != nil {
				return err
			}
			result, err := runSeal(u, &o, repoDir, args[0])
			if err != nil {
				return err
			}
			return u.result(result, fmt.Sprintf("%s/%s: sequence %d, key %s", repoDir, result.File, result.Sequence, result.Key))
		},
	}
	cmd.Flags().StringVar(&repoDir, "repo", "", "repository `DIR`")
	o.flags(cmd, "key")
	return cmd
}

func runSeal(u *ui, o *sealOptions, repoDir, image string) (sealed, error) {
	signer, err := o.open(u)
	if err != nil {
		return sealed{}, err
	}
	r, err := repo.Open(repoDir)
	if err != nil {
		return sealed{}, err
	}
	defer r.Close()
	digest, err := r.Resolve(image)
	if err != nil {
		return sealed{}, err
	}
	f, err := r.OpenImage(digest)
	if err != nil {
		return sealed{}, err
	}
	defer f.Close()
	// Never vouch for an image by its name alone.
	size, err := checkObject(f, digest)
	if err != nil {
		return sealed{}, err
	}
	header, err := erofs.ReadHeader(f)
	if err != nil {
		return sealed{}, fmt.Errorf("image %s: %w", digest.Hex(), err)
	}
	return o.seal(r, digest, header.Version, size, signer)
}
