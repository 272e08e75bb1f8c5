package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealedOptions are the flags of oci pull for sealed images.
type sealedOptions struct {
	keys  []string
	ref   string
	force bool
	again bool // make the image again
}

func (o *sealedOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "keys", nil, "take the sealed image, whose seal must be by one of these public keys: a .pub `FILE`, or a directory of them (repeatable)")
	f.StringVar(&o.ref, "ref", "", "with --keys: let the ref `NAME` in the repository point to the image")
	f.BoolVar(&o.again, "check", false, "with --keys: make the image again of the layers too, and refuse it if that gives another one")
	f.BoolVar(&o.force, "force", false, "with --keys: let the ref go back to a lower or equal sequence, and replace a seal that isn't older")
}

func (o *sealedOptions) asked() bool { return len(o.keys) > 0 }

// notForSealed are the flags about how layers become a tree, which isn't made then.
var notForSealed = []string{"max-entries", "max-expansion", "whiteouts", "follow-layer-links", "strict"}

func (o *sealedOptions) check(cmd *cobra.Command, args int) error {
	if !o.asked() {
		if o.ref != "" || o.force || o.again {
			return usagef(cmd, "--ref, --check and --force go with --keys")
		}
		return nil
	}
	if args > 1 {
		return usagef(cmd, "with --keys there is no TAG: name the image with --ref")
	}
	for _, name := range notForSealed {
		if cmd.Flags().Changed(name) && !o.again {
			return usagef(cmd, "--%s goes with --keys only if there is --check: the image is taken as it was sealed", name)
		}
	}
	if cmd.Flags().Changed("ref") {
		if err := repo.CheckRef(o.ref); err != nil {
			return usagef(cmd, "--ref: %w", err)
		}
	}
	return nil
}

// sealedReport is what oci pull --keys reports.
type sealedReport struct {
	Digest   verity.Digest `json:"digest"`
	Hex      string        `json:"hex"`
	Ref      string        `json:"ref,omitempty"`
	Seal     sealVerdict   `json:"seal"`
	Objects  repo.Stats    `json:"objects"`
	Moved    int64         `json:"moved"`
	Size     int64         `json:"size"`
	Requests int           `json:"requests"`
	Whole    int           `json:"whole-layers"`
}

// runSealed takes the sealed image of a release.
func (o *pullOptions) runSealed(cmd *cobra.Command, u *ui, ref string) error {
	keys, err := loadKeyring(o.sealed.keys)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return fmt.Errorf("--keys: %w", sign.ErrNoKeys)
	}
	image, err := openImage(cmd, u, ref, o.read.Image.Platform, "taken")
	if err != nil {
		return err
	}
	defer image.Close()
	meta, err := (&buildOptions{repo: o.repo}).settings(cmd, u)
	if err != nil {
		return err
	}
	wanted := release.Wanted{Policy: sign.Policy{Need: sign.Require, Keys: keys, Ref: o.sealed.ref}, Algorithm: meta.Algorithm, Bootable: o.bootable}
	found, err := release.Find(cmd.Context(), image, wanted)
	if errors.Is(err, release.ErrNoRelease) && !o.bootable {
		return fmt.Errorf("%s: %w; for one to boot say --bootable", ref, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ref, adviseSource(err))
	}
	done, err := o.pullSealed(cmd.Context(), u, found, ref, meta, keys)
	if err != nil {
		return err
	}
	if done.Stats.Damaged > 0 {
		u.remark("%s", replaced(done.Stats.Damaged, o.repo))
	}
	u.remark("fetched %d of %s: moved %s, the layers have %s", done.Stats.Stored, countOf(int64(done.Objects), "object"), size(done.Moved), size(done.Size))
	report := sealedReport{found.Digest, found.Digest.Hex(), o.sealed.ref, newSealVerdict(found.Verdict), done.Stats, done.Moved, done.Size, done.Requests, done.Whole}
	return u.result(report, report.Hex)
}

func (o *pullOptions) pullSealed(ctx context.Context, u *ui, found *release.Sealed, name string, meta repo.Meta, keys sign.Keyring) (_ release.Pulled, err error) {
	r, err := locking(u, o.repo, func() (*repo.Repo, error) { return repo.Init(o.repo, meta) })
	if err != nil {
		return release.Pulled{}, err
	}
	defer closeOrDiscard(r, &err)
	if err := o.checkOrder(u, r, found, keys); err != nil {
		return release.Pulled{}, err
	}
	u.progress.start("fetching what is missing")
	defer u.progress.stop()
	done, err := found.Pull(ctx, r, release.PullOptions{Progress: u.progress.file, Whole: func(reason error) {
		u.remark("%s: layers are read whole: %v", name, reason)
	}})
	if err != nil {
		return done, fmt.Errorf("%s: %w", name, adviseSource(err))
	}
	if o.sealed.again {
		if err := o.checkLayers(ctx, u, r, found, name); err != nil {
			return done, err
		}
	}
	order := sealOptions{force: o.sealed.force}
	if err := order.takeSeal(u, r, found.Seal, found.Signatures, keys); err != nil {
		return done, err
	}
	if o.sealed.ref == "" {
		return done, nil
	}
	return done, r.SetRef(o.sealed.ref, found.Digest)
}

// checkOrder refuses to go back to what is older.
func (o *pullOptions) checkOrder(u *ui, r *repo.Repo, found *release.Sealed, keys sign.Keyring) error {
	order := sealOptions{force: o.sealed.force}
	sequence := found.Verdict.Statement.Sequence
	if o.sealed.ref == "" {
		return nil
	}
	if err := r.CheckRefPlace(o.sealed.ref); err != nil {
		return err
	}
	return order.checkRef(u, r, o.sealed.ref, found.Digest, sequence, true, keys)
}

// checkLayers makes the image again, and says in what it differs if it does.
func (o *pullOptions) checkLayers(ctx context.Context, u *ui, r *repo.Repo, found *release.Sealed, name string) error {
	u.progress.start("making the image again of the layers")
	var nearest []treediff.Difference
	ways := 0
	err := found.Check(ctx, r, o.read.layerOptions(u, func() string { return name }), func(sealed, made *tree.Node) {
		all := slices.Collect(treediff.Trees(sealed, made))
		if ways++; ways == 1 || len(all) < len(nearest) {
			nearest = all
		}
	})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, release.ErrLayers):
		return fmt.Errorf("%s: %w", name, adviseSource(err))
	case len(nearest) == 0:
		return mismatchError{fmt.Errorf("%s: %w", name, err)}
	}
	d := nearest[0]
	return mismatchError{fmt.Errorf("%s: %w: of %s, the first is %s of %s: %q in the image, %q in the layers",
		name, err, countOf(int64(len(nearest)), "difference"), d.Attribute, printable.Quoted(d.Path), d.A, d.B)}
}
