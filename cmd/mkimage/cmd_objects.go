package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newObjects(u *ui) *cobra.Command {
	var o lookOptions
	cmd := &cobra.Command{
		Use:   "objects IMAGE...",
		Short: "list the objects that images need",
		Long: `Objects prints the paths, within an object store, of the contents that the images need:
each once, in order, one on each line.

IMAGE is a file, or with --repo a digest or ref.`,
		Example: "  mkimage objects image.erofs",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return usageError{cmd, err}
			}
			paths, err := o.objectPaths(args)
			if err != nil {
				return err
			}
			return u.lines(paths)
		},
	}
	o.flags(u, cmd)
	o.filterFlag(cmd)
	return cmd
}

// lines prints each text on a line, or with --json a list of them.
func (u *ui) lines(list []string) error {
	if !u.json && len(list) == 0 {
		return nil
	}
	return u.result(list, strings.Join(list, "\n"))
}
