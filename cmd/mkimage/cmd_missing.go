package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
)

func newMissing(u *ui) *cobra.Command {
	var o lookOptions
	var basedirs []string
	cmd := &cobra.Command{
		Use:   "missing {--basedir DIR | --repo DIR} IMAGE...",
		Short: "list the objects that images need and that aren't there",
		Long: `Missing prints the paths of objects (see mkimage objects) that exist neither in the
repository nor in any of the directories --basedir. If it prints nothing, all objects
are there; mkimage verify --objects says whether they are intact.

IMAGE is a file, or with --repo a digest or ref.`,
		Example: "  mkimage missing --basedir repo/objects image.erofs\n  mkimage missing --repo repo debian/13",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.repo == "" && len(basedirs) == 0 {
				return usagef(cmd, "missing needs --basedir or --repo: where the objects are")
			}
			if err := o.check(); err != nil {
				return usageError{cmd, err}
			}
			if o.repo != "" {
				basedirs = append(basedirs, filepath.Join(o.repo, "objects"))
			}
			paths, err := o.objectPaths(args)
			if err == nil {
				paths, err = missingFrom(basedirs, paths)
			}
			if err != nil {
				return err
			}
			return u.lines(paths)
		},
	}
	o.flags(cmd)
	o.filterFlag(cmd)
	cmd.Flags().StringArrayVar(&basedirs, "basedir", nil, "object store `DIR` (repeatable)")
	return cmd
}

// missingFrom returns those paths that exist in none of the directories.
func missingFrom(dirs, paths []string) ([]string, error) {
	var opened []*os.File
	for _, name := range dirs {
		if err := filekind.CheckDirectory(name); err != nil {
			return nil, err
		}
		dir, err := osfile.OpenDir(name)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		opened = append(opened, dir)
	}
	return listing.Missing(opened, paths), nil
}
