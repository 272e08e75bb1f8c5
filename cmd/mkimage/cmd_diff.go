package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/directory"
	"github.com/composefs-go/composefs/internal/tree"
	"github.com/composefs-go/composefs/internal/treediff"
	"github.com/composefs-go/composefs/verity"
)

type diffOptions struct {
	look      lookOptions
	first     bool
	algorithm string
	read      reading
}

const diffLong = `Diff says in which paths and attributes A and B differ, one difference a line, and
at the end which objects an update from A to B moves: those of B that A hasn't.

A and B are images (files; with --repo also digests and refs), or what mkimage build
takes: directories, tar:FILE, dump:FILE, crfs:FILE. A directory is compared with an
image as if it had been built: what --use-epoch and the like leave out is left out of
both sides' directories and archives.

The exit status is that of diff(1): 0 if there is no difference, 1 if there is one,
more if there was trouble.`

func newDiff(u *ui) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:     "diff A B",
		Short:   "say why two images or trees don't have the same digest",
		Long:    diffLong,
		Example: "  mkimage diff old.erofs new.erofs\n  mkimage diff --repo repo debian/13 /srv/debian",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.run(cmd, u, args[0], args[1]); err != nil {
				return trouble{err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	o.look.flags(cmd)
	f.BoolVar(&o.first, "first", false, "stop after the first difference")
	f.StringVar(&o.algorithm, "digest", "sha256", "hash for the files of directories: sha256 or sha512")
	f.BoolVar(&o.read.UseEpoch, "use-epoch", false, "take all times in directories for 0")
	f.BoolVar(&o.read.SkipXattrs, "skip-xattrs", false, "leave extended attributes in directories out")
	f.BoolVar(&o.read.UserXattrs, "user-xattrs", false, "of the extended attributes in directories keep only user.*")
	f.BoolVar(&o.read.SkipDevices, "skip-devices", false, "leave device nodes and whiteouts in directories out")
	return cmd
}

// compared is what diff reports.
type compared struct {
	Differences []treediff.Difference `json:"differences"`
	Update      treediff.Update       `json:"update"`
}

func (o *diffOptions) run(cmd *cobra.Command, u *ui, nameA, nameB string) error {
	alg, err := verity.ParseAlgorithm(o.algorithm)
	if err != nil {
		return usagef(cmd, "--digest: %w", err)
	}
	if o.read.SkipXattrs && o.read.UserXattrs {
		return usagef(cmd, "--skip-xattrs and --user-xattrs exclude each other")
	}
	o.read.sink, o.read.Sockets, o.read.format = directory.NewDigests(alg), true, erofs.V1
	a, err := o.tree(cmd.Context(), u, nameA)
	if err != nil {
		return err
	}
	b, err := o.tree(cmd.Context(), u, nameB)
	if err != nil {
		return err
	}
	return o.report(u, &a, &b)
}

// tree reads one of the two, whatever it is.
func (o *diffOptions) tree(ctx context.Context, u *ui, name string) (side, error) {
	_, _, found := findSource(name)
	st, err := os.Stat(name)
	if found || err == nil && st.IsDir() {
		s, err := readSource(ctx, u, name, &o.read)
		return side{root: s.root}, err
	}
	look := o.look
	if err == nil {
		look.repo = "" // a file goes before a ref of that name
	}
	m, err := look.read(name)
	return side{m.root, &m.format}, err
}

// A side is one of the two trees.
type side struct {
	root   *tree.Node
	format *erofs.Format // nil if it isn't from an image
}

// report prints the differences as they are found, or as JSON all of them.
func (o *diffOptions) report(u *ui, a, b *side) error {
	opts := reconcile(a, b)
	result := compared{Differences: []treediff.Difference{}, Update: treediff.NewUpdate(a.root, b.root)}
	out := bufio.NewWriter(u.out)
	for d := range treediff.Trees(a.root, b.root, opts) {
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

// errDifferent is what diff returns when it has said what there is to say.
var errDifferent = errors.New("A and B differ")

// trouble is an error of diff: status 1 isn't for those.
type trouble struct{ error }

func (t trouble) Unwrap() error { return t.error }

// reconcile takes out what the format of one side can't say. V2 images have no
// nanoseconds; V1 images mark directories with whiteouts.
func reconcile(a, b *side) treediff.Options {
	if a.is(erofs.V1) != b.is(erofs.V1) {
		for _, s := range []*side{a, b} {
			if !s.is(erofs.V1) {
				markWhiteouts(s.root)
			}
		}
	}
	return treediff.Options{WholeSeconds: a.is(erofs.V2) || b.is(erofs.V2)}
}

func (s *side) is(f erofs.Format) bool { return s.format != nil && *s.format == f }

// markWhiteouts gives directories with whiteouts the attributes that remain of them
// in a V1 image.
func markWhiteouts(dir *tree.Node) {
	for _, e := range dir.Entries() {
		if e.Node.IsWhiteout() && !e.Link {
			dir.SetXattr("trusted.overlay.opaque", []byte("x"))
			dir.SetXattr("user.overlay.opaque", []byte("x"))
		}
		if e.Node.Kind == tree.Directory {
			markWhiteouts(e.Node)
		}
	}
}
