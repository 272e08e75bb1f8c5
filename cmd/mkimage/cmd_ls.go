package main

import (
	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/source"
)

func newLs(u *ui) *cobra.Command {
	var o lookOptions
	cmd := &cobra.Command{
		Use:   "ls IMAGE...",
		Short: "list the names in images",
		Long: `Ls prints the names in each IMAGE, one on each line: directories with a slash, symlinks
with their target, files with the path of their object. Bytes that aren't printable ASCII
are escaped as in C. --json prints all attributes.

IMAGE is a file, or with --repo a digest or ref.`,
		Example: "  mkimage ls image.erofs\n  mkimage ls --repo repo --filter etc debian/13",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return usageError{cmd, err}
			}
			if u.json {
				return listJSON(u, &o, args)
			}
			return o.each(args, func(m source.Image) error { return listing.Write(u.out, m.Root) })
		},
	}
	o.flags(u, cmd)
	o.filterFlag(cmd)
	return cmd
}

// An imageListing is what ls --json prints of an image.
type imageListing struct {
	Image  string         `json:"image"`
	Format string         `json:"format"`
	Files  []listing.File `json:"files"`
}

func listJSON(u *ui, o *lookOptions, names []string) error {
	var all []imageListing
	err := o.each(names, func(m source.Image) error {
		all = append(all, imageListing{m.Name, m.Format.String(), listing.Files(m.Root)})
		return nil
	})
	if err != nil {
		return err
	}
	return u.result(all, "")
}
