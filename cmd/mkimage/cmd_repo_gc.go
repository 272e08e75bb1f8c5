package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/collect"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const repoGCLong = `Gc removes from the repository DIR what nothing needs any more. An image stays, with its
objects, if

  - a ref points to it, or it has a seal;
  - a container image with a tag (mkimage oci list) made it;
  - this machine has booted it, or the root file system with DIR has its /etc and /var;
  - --keep names it.

Everything else goes: other images, streams without a tag, objects, and what programs that
were stopped have left. gc waits until no other program has the repository open, and others
wait for gc.

If a ref, seal or tag leads to an image or a stream that is missing or damaged, it can't be
known what belongs to it: then nothing is removed, and the error names it. The contents of
files aren't looked at; mkimage repo fsck does that. An image that is mounted and that
nothing above keeps loses its objects.

--unseal removes an image's seal first. A ref is removed with rm DIR/images/refs/NAME, a
tag with mkimage oci untag. --dry-run removes nothing, and prints what would go
and, for each image, ref and tag that stays, why.`

type gcOptions struct {
	dryRun, everything bool
	keep, unseal       []string
}

func newRepoGC(u *ui) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:     "gc DIR",
		Short:   "remove images and objects that nothing needs",
		Long:    repoGCLong,
		Example: "  mkimage repo gc --dry-run repo\n  mkimage repo gc --unseal DIGEST repo",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), u, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "remove nothing, and print what would be removed and what stays")
	f.StringArrayVar(&o.keep, "keep", nil, "keep `IMAGE`, a digest or a ref (repeatable)")
	f.StringArrayVar(&o.unseal, "unseal", nil, "remove the seal of `IMAGE`, a digest or a ref, so that it doesn't keep it (repeatable)")
	f.BoolVar(&o.everything, "everything", false, "remove everything if nothing is needed, instead of refusing that")
	return cmd
}

// gcReport is what repo gc reports.
type gcReport struct {
	DryRun  bool           `json:"dry-run"`
	Removed []collect.Item `json:"removed"`
	Objects int64          `json:"objects"`
	Bytes   int64          `json:"bytes"`
	Roots   []collect.Item `json:"roots"`
	Kept    []collect.Item `json:"kept"`
	Left    int64          `json:"left"`
}

func (o *gcOptions) run(ctx context.Context, u *ui, dir string) error {
	r, err := openRepo(u, dir)
	if err != nil {
		return err
	}
	plan, err := o.collect(ctx, u, r, dir)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	for _, i := range plan.Kept {
		if slices.Contains(plan.Unsealed(), i.Name) {
			u.remark("image %s stays, without a seal, as %s", i.Name, i.Reason)
		}
	}
	report := gcReport{o.dryRun, plan.Removed, plan.Objects, plan.Bytes, plan.Roots, plan.Kept, plan.Left}
	if report.Removed == nil {
		report.Removed = []collect.Item{}
	}
	return u.result(report, report.text())
}

func (g gcReport) text() string {
	var b strings.Builder
	if g.DryRun {
		for _, i := range g.Roots {
			if i.Kind == collect.Asked {
				continue // the image says why
			}
			fmt.Fprintf(&b, "stays: %s, which %s\n", i, i.Reason)
		}
		for _, i := range g.Kept {
			fmt.Fprintf(&b, "stays: %s, as %s\n", i, i.Reason)
		}
	}
	verb := "removed"
	if g.DryRun {
		verb = "would be removed"
	}
	for _, i := range g.Removed {
		fmt.Fprintf(&b, "%s: %s, as %s\n", verb, i, i.Reason)
	}
	fmt.Fprintf(&b, "%s: %s, %s", verb, countOf(g.Objects, "object"), size(g.Bytes))
	return b.String()
}

func (o *gcOptions) collect(ctx context.Context, u *ui, r *repo.Repo, dir string) (*collect.Plan, error) {
	keep, unseal, err := o.resolve(r)
	if err != nil {
		return nil, err
	}
	needed, err := kept(dir, r.Meta().Algorithm)
	if err != nil {
		return nil, err
	}
	maps.Copy(keep, needed)
	options := collect.Options{Keep: keep, Unseal: unseal, Everything: o.everything}
	if o.dryRun {
		return collect.New(ctx, r, options)
	}
	if _, err := locking(u, dir, func() (struct{}, error) { return struct{}{}, r.Exclude() }); err != nil {
		return nil, err
	}
	u.progress.start("looking for what is needed")
	defer u.progress.stop()
	plan, err := collect.New(ctx, r, options)
	if err != nil {
		return nil, err
	}
	u.progress.start("removing")
	return plan, plan.Apply(ctx, r)
}

// resolve finds the images that the flags name.
func (o *gcOptions) resolve(r *repo.Repo) (keep map[verity.Digest]string, unseal []verity.Digest, err error) {
	keep = make(map[verity.Digest]string)
	for _, name := range o.keep {
		d, err := r.Resolve(name)
		if err != nil {
			return nil, nil, fmt.Errorf("--keep: %w", err)
		}
		keep[d] = "--keep names it"
	}
	for _, name := range o.unseal {
		// Its image may have gone.
		d, _, err := r.Lookup(name)
		if err != nil {
			return nil, nil, fmt.Errorf("--unseal: %w", err)
		}
		unseal = append(unseal, d)
	}
	return keep, unseal, nil
}

// kept returns the images that this machine needs, whatever the repository says: the one
// that it has booted, and the ones with a state on the same root file system. If that can't be
// told, it is an error: nothing may be removed then.
func kept(dir string, alg verity.Algorithm) (map[verity.Digest]string, error) {
	keep := make(map[verity.Digest]string)
	switch d, err := booted(bootRecord); {
	case err == nil:
		keep[d] = "this machine has booted it"
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("which image this machine has booted can't be told: %w", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, err
	}
	states, err := os.ReadDir(filepath.Join(filepath.Dir(real), "state", "deploy"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("which images have a state can't be told: %w", err)
	}
	for _, e := range states {
		if d, err := verity.ParseHex(alg, e.Name()); err == nil {
			keep[d] = "state/deploy has its /etc and /var"
		}
	}
	return keep, nil
}

// bootRecord is where composefs-setup-root says what it has booted.
const bootRecord = "/run/composefs/boot.json"

// bootRecordMax limits its size in bytes.
const bootRecordMax = 1 << 20

func booted(record string) (verity.Digest, error) {
	f, err := os.Open(record)
	if err != nil {
		return verity.Digest{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, bootRecordMax))
	if err != nil {
		return verity.Digest{}, err
	}
	var boot struct {
		Digest verity.Digest `json:"digest"`
	}
	if err := json.Unmarshal(b, &boot); err != nil {
		return verity.Digest{}, fmt.Errorf("%s: %w", record, err)
	}
	if boot.Digest.IsZero() {
		return verity.Digest{}, fmt.Errorf("%s: it has no digest", record)
	}
	return boot.Digest, nil
}

func newRepoRefs(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refs DIR",
		Short: "list what keeps images in a repository",
		Long: `Refs lists the refs, the seals and the tags of container images in the repository DIR, and
what each leads to. These keep images and objects when
mkimage repo gc removes the rest.`,
		Example: "  mkimage repo refs repo",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := openRepo(u, args[0])
			if err != nil {
				return err
			}
			roots, err := collect.Roots(r)
			if err := errors.Join(err, r.Close()); err != nil {
				return err
			}
			var lines []string
			for _, i := range roots {
				lines = append(lines, fmt.Sprintf("%s %s", i, i.Reason))
			}
			return u.listing(roots, strings.Join(lines, "\n"))
		},
	}
	return cmd
}
