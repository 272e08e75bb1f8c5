package main

import (
	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/transform"
)

// dialects are the values of dump --dialect.
var dialects = map[string]dumpfile.Dialect{"c": dumpfile.C, "rust": dumpfile.Rust}

func newDump(u *ui) *cobra.Command {
	var o lookOptions
	var dialect string
	cmd := &cobra.Command{
		Use:   "dump IMAGE...",
		Short: "print images as text from which they can be made again",
		Long: `Dump prints each IMAGE in composefs-dump format, one file on each line. From that text
mkimage build dump:FILE makes the same image again.

With --dialect rust it prints what cfsctl create-dumpfile prints for the source of the
image: for a V1 image, without the attributes that mark directories with whiteouts.

IMAGE is a file, or with --repo a digest or ref.`,
		Example: "  mkimage dump image.erofs | mkimage build dump:-",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, ok := dialects[dialect]
			if !ok {
				return usagef(cmd, "--dialect: want c or rust, found %q", dialect)
			}
			if u.json {
				return usagef(cmd, "dump has a format of its own; for JSON use: mkimage ls --json")
			}
			if err := o.check(); err != nil {
				return usageError{cmd, err}
			}
			return o.eachWhole(args, func(m source.Image) error {
				if d == dumpfile.Rust && m.Format == erofs.V1 {
					transform.DropMarks(m.Root)
				}
				return d.Write(u.out, m.Root, o.filter...)
			})
		},
	}
	o.flags(u, cmd)
	o.filterFlag(cmd)
	cmd.Flags().StringVar(&dialect, "dialect", "c", "`NAME` of the dialect: c for mkcomposefs, rust for composefs-rs")
	return cmd
}
