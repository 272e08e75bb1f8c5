package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/check/imagediff"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/verity"
)

type diffOptions struct {
	look      lookOptions
	first     bool
	digest    string
	algorithm verity.Algorithm // 0: that of the objects of an image, if there is one
	source    sourceFlags
}

const diffLong = `Diff prints the paths and attributes in which A and B differ, one difference on each line,
and at the end how many objects an update from A to B transfers: the objects of B that A
lacks. Lines that begin with "image:" are about an image as a whole: its format, or bytes
that its tree doesn't account for.

A and B are images (files, or with --repo digests and refs), or anything that mkimage
build reads: directories, tar:FILE, dump:FILE, crfs:FILE. A directory or archive is
compared with an image as if it had been built in the image's format. --use-epoch and
similar flags apply to directories and archives on both sides.

The exit status is as for diff(1): 0 if there is no difference, 1 if there is one, more
if there was trouble.`

func newDiff(u *ui) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:     "diff A B",
		Short:   "say why two images or trees have different digests",
		Long:    diffLong,
		Example: "  mkimage diff old.erofs new.erofs\n  mkimage diff --repo repo debian/13 /srv/debian",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(checkSource(args[0]), checkSource(args[1]), o.source.check()); err != nil {
				return trouble{usagef(cmd, "%w", err)}
			}
			if err := o.run(cmd, u, args[0], args[1]); err != nil {
				return trouble{err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	o.look.flags(u, cmd)
	f.BoolVar(&o.first, "first", false, "stop after the first difference")
	f.StringVar(&o.digest, "digest", "", "hash for the files of directories and archives: sha256 or sha512 (default: as in the image)")
	f.BoolVar(&o.source.UseEpoch, "use-epoch", false, "treat all times in directories as 0")
	f.BoolVar(&o.source.SkipXattrs, "skip-xattrs", false, "leave out the extended attributes of files in directories")
	f.BoolVar(&o.source.UserXattrs, "user-xattrs", false, "keep only the extended attributes user.* of files in directories")
	f.BoolVar(&o.source.SkipDevices, "skip-devices", false, "leave out device nodes and whiteouts in directories")
	o.source.add(cmd)
	return cmd
}

// A diffReport is what diff --json prints.
type diffReport struct {
	Differences []treediff.Difference `json:"differences"`
	Update      treediff.Update       `json:"update"`
}

func (o *diffOptions) run(cmd *cobra.Command, u *ui, nameA, nameB string) error {
	if o.digest != "" {
		alg, err := verity.ParseAlgorithm(o.digest)
		if err != nil {
			return usagef(cmd, "--digest: %w", err)
		}
		o.algorithm = alg
	}
	if o.source.SkipXattrs && o.source.UserXattrs {
		return usagef(cmd, "--skip-xattrs and --user-xattrs exclude each other")
	}
	sides, err := o.sides(cmd.Context(), u, [2]string{nameA, nameB})
	for _, s := range sides {
		if s.Image != nil {
			defer s.Image.Close()
		}
	}
	if err != nil {
		return err
	}
	return o.report(u, imagediff.New(sides[0], sides[1]))
}

// sides reads what is to be compared. Images come first: they say how the rest is to
// be read. Their files stay open.
func (o *diffOptions) sides(ctx context.Context, u *ui, names [2]string) (sides [2]imagediff.Side, err error) {
	var formats []erofs.Format
	alg := o.algorithm
	for i, name := range names {
		look, is := o.isImage(name)
		if !is {
			continue
		}
		f, err := look.open(name)
		if err != nil {
			return sides, err
		}
		sides[i].Image = f
		m, err := source.ReadImage(name, f)
		if err != nil {
			return sides, err
		}
		sides[i].Root, sides[i].Format = m.Root, m.Format
		formats = append(formats, m.Format)
		if alg == 0 {
			alg = imagediff.Algorithm(m.Root)
		}
	}
	if alg == 0 {
		alg = verity.SHA256
	}
	o.source.Sink, o.source.Sockets, o.source.Format = directory.NewDigests(alg), true, erofs.V1
	if len(formats) > 0 {
		o.source.Format = slices.Max(formats)
	}
	for i, name := range names {
		if sides[i].Image != nil {
			continue
		}
		s, err := o.source.read(ctx, u, name)
		if err != nil {
			return sides, err
		}
		sides[i].Root = s.Root
	}
	return sides, nil
}

// isImage reports whether a name is that of an image, and how to open it. A file goes
// before a ref of that name.
func (o *diffOptions) isImage(name string) (lookOptions, bool) {
	if _, _, found := source.Find(name); found {
		return lookOptions{}, false
	}
	st, err := os.Stat(name)
	if err != nil {
		return o.look, true // a ref, or nothing
	}
	return lookOptions{}, !st.IsDir()
}

// report prints the differences as they are found, or with --json all of them at the end.
func (o *diffOptions) report(u *ui, c *imagediff.Comparison) error {
	result := diffReport{Differences: []treediff.Difference{}, Update: c.Update()}
	out := bufio.NewWriter(u.out)
	for d, err := range c.Differences() {
		if err != nil {
			return err
		}
		result.Differences = append(result.Differences, d)
		if !u.json {
			fmt.Fprintln(out, d)
		}
		if o.first {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if u.json {
		if err := u.result(result, ""); err != nil {
			return err
		}
	}
	if len(result.Differences) == 0 {
		return nil
	}
	if !u.json && !u.quiet {
		fmt.Fprintf(u.out, "from A to B: %d objects, %s\n", result.Update.Objects, size(int64(min(result.Update.Bytes, 1<<63-1))))
	}
	return errDifferent
}

// errDifferent ends a diff that has printed differences.
var errDifferent = errors.New("A and B differ")

// trouble is an error of diff, for which status 1 has another meaning.
type trouble struct{ error }

func (t trouble) Unwrap() error { return t.error }
