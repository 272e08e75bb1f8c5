package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const fetchLong = `Fetch gets an image, and those of its objects that the repository lacks, from an ORIGIN:
another repository, as a directory or as http://HOST/PATH or https://HOST/PATH of a web
server that just serves its files. DIGEST is the image's, as mkimage build prints it.

The origin isn't believed: every object is hashed before it gets its name. Objects that are
in the repository already are checked, and fetched again if they are damaged. If fetch fails
or is interrupted, what it has stays, and the next one needs only the rest.

From a directory on the same file system, objects share their blocks with the origin's if
the file system can do that (Btrfs, XFS).

The image's seal isn't fetched. Its files are in seals/ of the origin, and are checked when
the image is verified or booted.`

type fetchOptions struct{ repo, from, ref string }

func newFetch(u *ui) *cobra.Command {
	var o fetchOptions
	cmd := &cobra.Command{
		Use:     "fetch --repo DIR --from ORIGIN DIGEST",
		Short:   "get an image from a web server or another repository",
		Long:    fetchLong,
		Example: "  mkimage fetch --repo repo --from https://HOST/repo --ref debian/13 DIGEST",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, u, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "put the image into the repository `DIR`, which is made if it doesn't exist")
	f.StringVar(&o.from, "from", "", "get it from `ORIGIN`")
	f.StringVar(&o.ref, "ref", "", "let the ref `NAME` in the repository point to the image")
	return cmd
}

// fetchReport is what fetch reports.
type fetchReport struct {
	Digest  verity.Digest `json:"digest"`
	Hex     string        `json:"hex"`
	Objects repo.Stats    `json:"objects"`
}

func (o *fetchOptions) run(cmd *cobra.Command, u *ui, name string) error {
	image, err := verity.ParseAnyHex(name)
	switch {
	case o.repo == "" || o.from == "":
		return usagef(cmd, "want --repo DIR and --from ORIGIN")
	case err != nil:
		return usagef(cmd, "DIGEST: %w", err)
	}
	if cmd.Flags().Changed("ref") {
		if err := repo.CheckRef(o.ref); err != nil {
			return usagef(cmd, "--ref: %w", err)
		}
	}
	origin, err := fetch.Open(o.from)
	if errors.Is(err, fetch.ErrOrigin) {
		return usagef(cmd, "--from: %w", err)
	}
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer origin.Close()
	done, err := o.fetch(cmd.Context(), u, origin, image)
	if err != nil {
		return err
	}
	if done.Stats.Damaged > 0 {
		u.remark("%s", replaced(done.Stats.Damaged, o.repo))
	}
	return u.result(fetchReport{image, image.Hex(), done.Stats}, fmt.Sprintf("fetched %d of %s, %s", done.Stats.Stored, countOf(int64(done.Objects), "object"), size(done.Stats.Bytes)))
}

func (o *fetchOptions) fetch(ctx context.Context, u *ui, origin fetch.Origin, image verity.Digest) (_ fetch.Fetched, err error) {
	r, err := o.open(u, image)
	if err != nil {
		return fetch.Fetched{}, err
	}
	defer closeOrDiscard(r, &err)
	if o.ref != "" {
		if err := r.CheckRefPlace(o.ref); err != nil {
			return fetch.Fetched{}, err
		}
	}
	u.progress.start("fetching from " + origin.String())
	defer u.progress.stop()
	done, err := fetch.Image(ctx, r, origin, image, u.progress.file)
	if err == nil && o.ref != "" {
		err = r.SetRef(o.ref, image)
	}
	return done, err
}

// open opens the repository, or makes it.
func (o *fetchOptions) open(u *ui, image verity.Digest) (*repo.Repo, error) {
	r, err := openRepo(u, o.repo)
	if errors.Is(err, repo.ErrNotRepo) {
		meta := repo.Meta{Algorithm: image.Algorithm(), Format: erofs.V1}
		r, err = locking(u, o.repo, func() (*repo.Repo, error) { return repo.Init(o.repo, meta) })
	}
	if err != nil {
		return nil, err
	}
	if alg := r.Meta().Algorithm; alg != image.Algorithm() {
		return nil, errors.Join(fmt.Errorf("%w: %s has %v, the image %v", repo.ErrOther, o.repo, alg, image.Algorithm()), r.Close())
	}
	return r, nil
}

// repair fetches what a repository has lost. It returns the errors of what it couldn't get.
func repair(ctx context.Context, u *ui, r *repo.Repo, from string, lost map[verity.Digest]int64) (fetched int, failed []error, err error) {
	get := repairFromRepository
	if isReference(from) {
		get = repairFromRelease
	}
	u.progress.start("fetching from " + from)
	defer u.progress.stop()
	missed, err := get(ctx, u, r, from, lost)
	if err != nil {
		return 0, nil, fmt.Errorf("--repair-from: %w", err)
	}
	for _, d := range slices.SortedFunc(maps.Keys(missed), verity.Digest.Compare) {
		failed = append(failed, missed[d])
	}
	return len(lost) - len(missed), failed, err
}

func repairFromRepository(ctx context.Context, u *ui, r *repo.Repo, from string, lost map[verity.Digest]int64) (map[verity.Digest]error, error) {
	origin, err := fetch.Open(from)
	if err != nil {
		return nil, err
	}
	defer origin.Close()
	return fetch.Objects(ctx, r, origin, lost, u.progress.file)
}

// isReference tells a container image from a repository.
func isReference(name string) bool {
	_, err := oci.ParseReference(name)
	return err == nil
}

func repairFromRelease(ctx context.Context, u *ui, r *repo.Repo, from string, lost map[verity.Digest]int64) (map[verity.Digest]error, error) {
	reference, err := oci.ParseReference(from)
	if err != nil {
		return nil, err
	}
	image, err := oci.Open(ctx, reference, oci.Options{})
	if err != nil {
		return nil, adviseSource(err)
	}
	defer image.Close()
	return release.Repair(ctx, r, image, lost, release.PullOptions{Progress: u.progress.file, Whole: func(reason error) {
		u.remark("%s: layers are read whole: %v", from, reason)
	}})
}
