package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

func newRepo(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repo COMMAND",
		Short: "make a repository, check it, and remove what nothing needs",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRepoInit(u), newRepoRefs(u), newRepoCat(u), newRepoCopy(u), newRepoFsck(u), newRepoGC(u))
	return cmd
}

const repoInitLong = `Init makes an empty repository. Its hash and image format can't be changed later.

mkimage build --repo makes one too; init is for settings other than SHA-256 and V1.
If the file system supports fs-verity, the repository will require it.

If DIR is a repository with a lost or damaged meta.json, init writes that file again, with
the settings of the objects and images in the repository; --digest and --format can't
change them. If its images have several formats, --format chooses the default.`

// repoReport is what repo init reports.
type repoReport struct {
	Repo      string `json:"repo"`
	Algorithm string `json:"algorithm"`
	Format    string `json:"format"`
	Restored  bool   `json:"restored"` // the repository existed, without a usable meta.json
}

func newRepoInit(u *ui) *cobra.Command {
	var algorithm, format string
	cmd := &cobra.Command{
		Use:     "init DIR",
		Short:   "make an empty repository, or the lost meta.json of one",
		Long:    repoInitLong,
		Example: "  mkimage repo init --digest sha512 repo",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			alg, err := verity.ParseAlgorithm(algorithm)
			if err != nil {
				return usagef(cmd, "--digest: %w", err)
			}
			f, err := parseFormat(format)
			if err != nil {
				return usagef(cmd, "--format: %w", err)
			}
			meta := repo.Meta{Algorithm: alg, Format: f}
			if meta, err = keepSettings(cmd, u, args[0], meta); err != nil {
				return err
			}
			r, err := locking(u, args[0], func() (*repo.Repo, error) { return repo.Init(args[0], meta) })
			if lost := (*repo.LostMetaError)(nil); errors.As(err, &lost) {
				return restoreMeta(cmd, u, args[0], meta)
			}
			if err != nil {
				return err
			}
			return errors.Join(reportInit(u, args[0], meta, false), r.Close())
		},
	}
	cmd.Flags().StringVar(&algorithm, "digest", "sha256", "hash: sha256 or sha512")
	cmd.Flags().StringVar(&format, "format", "v1", "image format: v0, v1 or v2")
	return cmd
}

// keepSettings returns the settings of a repository that is there instead of the defaults of
// flags that weren't given.
func keepSettings(cmd *cobra.Command, u *ui, dir string, meta repo.Meta) (repo.Meta, error) {
	r, err := openRepo(u, dir)
	if err != nil {
		return meta, nil // which init finds too, and explains
	}
	have := r.Meta()
	if !cmd.Flags().Changed("digest") {
		meta.Algorithm = have.Algorithm
	}
	if !cmd.Flags().Changed("format") {
		meta.Format, meta.Extra = have.Format, have.Extra
	}
	return meta, r.Close()
}

// restoreMeta is init for a repository that has lost its meta.json. It ignores the defaults
// of flags that weren't given.
func restoreMeta(cmd *cobra.Command, u *ui, dir string, asked repo.Meta) error {
	var want repo.Wanted
	if cmd.Flags().Changed("digest") {
		want.Algorithm = &asked.Algorithm
	}
	if cmd.Flags().Changed("format") {
		want.Format = &asked.Format
	}
	meta, err := locking(u, dir, func() (repo.Meta, error) { return repo.Restore(dir, want) })
	if errors.Is(err, repo.ErrUndecided) && want.Format == nil {
		err = fmt.Errorf("%w: choose with --format", err)
	}
	if err != nil {
		return err
	}
	u.remark("%s had no usable meta.json; the new one has the settings of what is there: %s", dir, meta)
	return reportInit(u, dir, meta, true)
}

// reportInit prints the result with --json only; otherwise there is nothing to say.
func reportInit(u *ui, dir string, meta repo.Meta, restored bool) error {
	if !u.json {
		return nil
	}
	return u.result(repoReport{dir, meta.Algorithm.String(), fmt.Sprintf("v%d", meta.Format), restored}, "")
}
