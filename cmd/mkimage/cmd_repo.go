package main

import (
	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/verity"
)

func newRepo(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repo COMMAND",
		Short: "make a repository",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRepoInit(u))
	return cmd
}

func newRepoInit(u *ui) *cobra.Command {
	var algorithm, format string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "make an empty repository",
		Long: `Init makes an empty repository. Hash and image format are fixed from then on.

mkimage build --repo does it by itself; this is for other settings than SHA-256
and V1. Where the file system has fs-verity, the repository will insist on it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			alg, err := verity.ParseAlgorithm(algorithm)
			if err != nil {
				return usagef(cmd, "--digest: %w", err)
			}
			f, err := parseFormat(format)
			if err != nil {
				return usagef(cmd, "--format: %w", err)
			}
			r, err := repo.Init(args[0], repo.Meta{Algorithm: alg, Format: int(f)})
			if err != nil {
				return err
			}
			return r.Close()
		},
	}
	cmd.Flags().StringVar(&algorithm, "digest", "sha256", "hash: sha256 or sha512")
	cmd.Flags().StringVar(&format, "format", "v1", "image format: v0, v1 or v2")
	return cmd
}
