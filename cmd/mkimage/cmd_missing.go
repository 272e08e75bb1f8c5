package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
)

func newMissing(u *ui) *cobra.Command {
	var o lookOptions
	var basedirs []string
	cmd := &cobra.Command{
		Use:   "missing {--basedir DIR | --repo DIR} IMAGE...",
		Short: "list the objects that images need and that are missing",
		Long: `Missing prints the paths of the objects (see mkimage objects) that are neither in the
repository nor in any --basedir. If it prints nothing, all objects are there; whether
they are intact, mkimage verify --objects says.

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
			paths, err := o.objectPaths(args)
			if err == nil {
				paths, err = missingFrom(u, o.repo, basedirs, paths)
			}
			if err != nil {
				return err
			}
			return u.lines(paths)
		},
	}
	o.flags(u, cmd)
	o.filterFlag(cmd)
	cmd.Flags().StringArrayVar(&basedirs, "basedir", nil, "object store `DIR` (repeatable)")
	return cmd
}

// missingFrom returns the paths that exist neither in the repository, if one is named, nor
// in any of the directories.
func missingFrom(u *ui, repository string, dirs, paths []string) ([]string, error) {
	var opened []*os.File
	if repository != "" {
		r, err := openRepo(u, repository)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		objects, err := r.OpenObjects()
		if err != nil {
			return nil, err
		}
		defer objects.Close()
		opened = append(opened, objects)
	}
	for _, name := range dirs {
		if err := filekind.CheckDirectory(name); err != nil {
			return nil, err
		}
		if repo.IsRepo(name) {
			return nil, fmt.Errorf("--basedir %s: want a directory of objects, found a repository: say --repo %s", name, shellWord(name))
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
