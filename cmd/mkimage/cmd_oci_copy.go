package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
)

func newOCICopy(u *ui) *cobra.Command {
	var dir, from string
	cmd := &cobra.Command{
		Use:   "copy --repo DIR --from REPO IMAGE [TAG]",
		Short: "copy a container image from another repository",
		Long: `Copy copies a container image, with the composefs images that were made of it, from the
repository REPO. IMAGE is a tag there or sha256:HEX, the digest of a manifest; TAG is the
tag here, by default the same.

Objects that are here already are checked, and copied again if they are damaged. Every object
is hashed before it gets its name. On one file system, copies share their blocks if the
file system can do that (Btrfs, XFS). To copy several images, see mkimage repo copy.`,
		Example: "  mkimage oci copy --repo repo --from /mnt/composefs os:stable",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if dir == "" || from == "" {
				return usagef(cmd, "want --repo DIR and --from REPO")
			}
			source, err := openRepo(u, from)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			defer source.Close()
			stored, err := ocistore.Find(source, args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
			tag := stored.Tag
			if len(args) > 1 {
				tag = args[1]
			}
			if tag == "" {
				return usagef(cmd, "%s is no tag: say with which TAG it comes here", args[0])
			}
			if err := ocistore.CheckTag(tag); err != nil {
				return usagef(cmd, "TAG: %w", err)
			}
			to, err := locking(u, dir, func() (*repo.Repo, error) { return openOrInit(dir, source.Meta()) })
			if err != nil {
				return err
			}
			defer closeOrDiscard(to, &err)
			u.progress.start("copying")
			defer u.progress.stop()
			stats, err := stored.Copy(cmd.Context(), to, tag, u.progress.file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			report := copyReport{[]copied{{"tag", tag, stored.Digest}}, stats}
			return u.result(report, report.String())
		},
	}
	ociRepoFlag(cmd, &dir)
	cmd.Flags().StringVar(&from, "from", "", "copy from the repository `DIR`")
	return cmd
}

// openOrInit opens a repository, or makes it with these settings if there is none.
func openOrInit(dir string, meta repo.Meta) (*repo.Repo, error) {
	r, err := repo.Open(dir)
	if errors.Is(err, repo.ErrNotRepo) {
		return repo.Init(dir, meta)
	}
	return r, err
}
