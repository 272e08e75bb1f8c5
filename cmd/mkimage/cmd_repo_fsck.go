package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/fsck"
	"github.com/composefs-go/composefs/internal/store/repo"
)

// errUnsound is the cause when fsck has findings. They have been printed.
var errUnsound = errors.New("the repository is damaged or incomplete")

const repoFsckLong = `Fsck checks the repository DIR. Each object must have the digest that is its name: the
kernel is asked about those with fs-verity, and all others are read. Images and streams
are read whole. Everything that an image, a stream, a ref or a seal leads to must be there.
The manifests, configurations and layers of container images must have the digests that
their names say. Signatures of seals are checked by mkimage verify, which has the keys.

It prints what was checked, and for each finding what to do. For an object that is missing
or damaged it adds the images and files that need it. The exit status is 5 if there is any.

Without flags nothing is changed. Objects that are missing or damaged come back when what
needs them is built or pulled again, or with --repair-from: from a directory or a web
server with a repository, as for mkimage fetch; or from a container image, such as
docker://HOST/NAME:TAG, in whose layers the files are looked for by the names that they have
in the images of DIR. What was found is then printed as remarks, and the result is about
the repository afterwards.

A repository that was copied has lost fs-verity. --enable-verity turns it on for all
objects, and then for meta.json, from which time on the repository requires it.`

type fsckOptions struct {
	fsck.Options
	from         string
	enableVerity bool
}

func newRepoFsck(u *ui) *cobra.Command {
	var o fsckOptions
	cmd := &cobra.Command{
		Use:     "fsck DIR",
		Short:   "check everything in a repository, and mend it",
		Long:    repoFsckLong,
		Example: "  mkimage repo fsck repo\n  mkimage repo fsck --repair-from https://HOST/repo repo",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRepo(u, args[0])
			if err != nil {
				return err
			}
			report, err := o.run(cmd.Context(), u, r, args[0])
			if err := errors.Join(err, r.Close()); err != nil {
				return err
			}
			if err := u.result(adviseFsck(report, args[0]), fsckText(report, args[0])); err != nil {
				return err
			}
			if n := len(report.Findings); n > 0 {
				return fmt.Errorf("%s: %w: %s", args[0], errUnsound, countOf(int64(n), "finding"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Metadata, "metadata-only", false, "don't read the contents of objects without fs-verity, nor those of layers")
	f.StringVar(&o.from, "repair-from", "", "get objects that are missing or damaged from `ORIGIN`, see above")
	f.BoolVar(&o.enableVerity, "enable-verity", false, "turn fs-verity on where it is off")
	return cmd
}

// repairs is how often fsck mends a repository: what comes back may need more.
const repairs = 4

func (o *fsckOptions) run(ctx context.Context, u *ui, r *repo.Repo, dir string) (fsck.Report, error) {
	report, err := o.check(ctx, u, r, dir)
	for range repairs {
		if err != nil || o.from == "" || len(report.Lost) == 0 {
			break
		}
		for _, f := range report.Findings {
			u.remark("%s %s: %s", f.Kind, f.Name, f.Problem)
		}
		fetched, failed, err := repair(ctx, u, r, o.from, report.Lost)
		if err != nil {
			return report, err
		}
		u.remark("fetched %s", countOf(int64(fetched), "object"))
		for _, err := range failed {
			u.remark("%v", err)
		}
		if report, err = o.check(ctx, u, r, dir); err != nil || fetched == 0 {
			return report, err
		}
	}
	if err != nil || !o.enableVerity || len(report.Findings) > 0 {
		return report, err
	}
	enabled, err := r.EnableVerity(ctx)
	if err != nil {
		return report, fmt.Errorf("--enable-verity: %w", err)
	}
	u.remark("fs-verity is on for %s that didn't have it", countOf(enabled, "object"))
	return o.check(ctx, u, r, dir)
}

func (o *fsckOptions) check(ctx context.Context, u *ui, r *repo.Repo, dir string) (fsck.Report, error) {
	u.progress.start("checking " + dir)
	defer u.progress.stop()
	o.Progress = u.progress.file
	return fsck.Check(ctx, r, o.Options)
}

// fsckReport is what repo fsck reports.
type fsckReport struct {
	fsck.Report
	Findings []advisedFinding `json:"findings"`
}

type advisedFinding struct {
	fsck.Finding
	Remedy string `json:"remedy"`
}

func adviseFsck(r fsck.Report, dir string) fsckReport {
	all := fsckReport{r, []advisedFinding{}}
	for _, f := range r.Findings {
		all.Findings = append(all.Findings, advisedFinding{f, fsckRemedy(f, dir)})
	}
	return all
}

// fsckRemedy says what to do about a finding.
func fsckRemedy(f fsck.Finding, dir string) string {
	switch f.Kind {
	case "stray":
		return "remove it, or move it out of the repository"
	case "seal":
		return "seal the image again; or remove the seal: mkimage repo gc --unseal " + f.Name + " " + shellWord(dir)
	case "ref":
		return "build the image again with --ref; or remove " + shellWord(dir+"/images/refs/"+f.Name)
	case "tag":
		return "pull it again; or remove the tag: mkimage oci untag --repo " + shellWord(dir) + " " + shellWord(f.Name)
	case "object":
		if len(f.Hurts) == 0 {
			return "if nothing else needs it, mkimage repo gc removes it; otherwise build or pull that again, or say --repair-from"
		}
	}
	return "build or pull again what needs it, or say --repair-from ORIGIN"
}

func fsckText(r fsck.Report, dir string) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s\n", f.Kind, f.Name, f.Problem)
		for _, file := range f.Hurts {
			fmt.Fprintf(&b, "    needed by %s\n", file)
		}
		if f.More > 0 {
			fmt.Fprintf(&b, "    and by %s more\n", countFiles(f.More))
		}
		fmt.Fprintf(&b, "    %s\n", fsckRemedy(f, dir))
	}
	fmt.Fprintf(&b, "objects: %d", r.Objects)
	if r.Unmeasured > 0 {
		fmt.Fprintf(&b, ", of which %d have no fs-verity", r.Unmeasured)
	}
	fmt.Fprintf(&b, "\nimages: %d\nstreams: %d\nrefs: %d\nseals: %d", r.Images, r.Streams, r.Refs, r.Seals)
	return b.String()
}
