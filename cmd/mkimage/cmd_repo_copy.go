package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func newRepoCat(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "cat DIR NAME",
		Short: "print an object or a stream of a repository",
		Long: `Cat prints an object, which NAME names by its digest, or a stream: oci-manifest-sha256:HEX,
oci-config-sha256:HEX, oci-layer-sha256:HEX or another one in DIR/streams, or refs/NAME for
a link in DIR/streams/refs. Of a layer it prints the archive, without compression.

The content is compared with the digest in its name while it is printed. If they differ,
the exit status is 5, and what was printed isn't to be used.`,
		Example: "  mkimage repo cat repo oci-config-sha256:HEX\n  mkimage repo cat repo DIGEST >object",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if u.json {
				return usagef(cmd, "cat prints what is there, in no format of its own")
			}
			return inRepo(cmd, u, args[0], func(r *repo.Repo) error {
				if d, err := verity.ParseAnyHex(args[1]); err == nil {
					return catObject(u, r, d)
				}
				return ocistore.Cat(cmd.Context(), r, u.out, args[1])
			})
		},
	}
}

func catObject(u *ui, r *repo.Repo, d verity.Digest) error {
	f, err := r.OpenVerified(d)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(u.out, f)
	return err
}

type copyOptions struct{ force bool }

const repoCopyLong = `Copy copies images from the repository FROM to the repository TO, which is made if it doesn't
exist. A NAME is a ref or a digest of a composefs image, whose seal goes along, or a tag of a
container image; if it is both, both are copied. Without a NAME everything is copied that a ref, a seal or a tag keeps.

Objects that TO has already are checked, and copied again if they are damaged. Every object
is hashed before it gets its name. On one file system, copies share their blocks if the
file system can do that (Btrfs, XFS). Names come last: if copy fails or is interrupted, what
it has copied stays, and the next one needs only the rest.

A ref isn't moved to a lower or equal sequence without --force, and a seal that TO has is only
replaced by one with a higher sequence.`

func newRepoCopy(u *ui) *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:     "copy FROM TO [NAME…]",
		Short:   "copy images to another repository",
		Long:    repoCopyLong,
		Example: "  mkimage repo copy repo /mnt/composefs debian/13",
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inRepo(cmd, u, args[0], func(from *repo.Repo) error {
				return o.run(cmd.Context(), u, from, args[0], args[1], args[2:])
			})
		},
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "let refs go back to a lower or equal sequence, and replace seals that aren't older")
	return cmd
}

// copyReport is what repo copy reports.
type copyReport struct {
	Copied  []copied   `json:"copied"`
	Objects repo.Stats `json:"objects"`
}

func (r copyReport) String() string {
	s := r.Objects
	return fmt.Sprintf("copied %s: %s, %s; %d were there", countOf(int64(len(r.Copied)), "image"), countOf(s.Stored, "object"), size(s.Bytes), s.Present)
}

// copied is a name with what it stands for.
type copied struct {
	Kind   string `json:"kind"` // "ref", "image" or "tag"
	Name   string `json:"name"`
	Digest string `json:"digest"` // of the image in hex, or of the manifest
}

// A copier copies images from one repository to another.
type copier struct {
	copyOptions
	u        *ui
	from, to *repo.Repo
	origin   fetch.Origin
	report   copyReport
}

func (o copyOptions) run(ctx context.Context, u *ui, from *repo.Repo, fromDir, toDir string, names []string) (err error) {
	origin, err := fetch.Open(fromDir)
	if err != nil {
		return err
	}
	defer origin.Close()
	c := &copier{copyOptions: o, u: u, from: from, origin: origin, report: copyReport{Copied: []copied{}}}
	if len(names) == 0 {
		if names, err = c.all(); err != nil {
			return err
		}
	}
	c.to, err = locking(u, toDir, func() (*repo.Repo, error) { return openOrInit(toDir, from.Meta()) })
	if err != nil {
		return err
	}
	defer closeOrDiscard(c.to, &err)
	u.progress.start("copying")
	defer u.progress.stop()
	for _, name := range names {
		if err := c.copy(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	u.progress.stop()
	return u.result(c.report, c.report.String())
}

// all returns the names of everything that is kept.
func (c *copier) all() ([]string, error) {
	refs, err := c.from.Refs()
	if err != nil {
		return nil, err
	}
	names, err := c.from.RefNames()
	if err != nil {
		return nil, err
	}
	tags, err := ocistore.List(c.from)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if t.Err != nil {
			return nil, fmt.Errorf("tag %q: %w", t.Tag, t.Err)
		}
		names = append(names, t.Tag)
	}
	named := make(map[verity.Digest]bool)
	for _, d := range refs {
		named[d] = true
	}
	seals, err := c.from.Seals()
	if err != nil {
		return nil, err
	}
	for _, d := range seals {
		if !named[d] {
			names = append(names, d.Hex())
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil // a ref and a tag may have one name
}

// copy copies what a name stands for: an image, a container image, or both.
func (c *copier) copy(ctx context.Context, name string) error {
	d, isRef, noImage := c.from.Lookup(name)
	if noImage != nil && !errors.Is(noImage, repo.ErrNoImage) {
		return noImage
	}
	stored, noTag := ocistore.Find(c.from, name)
	if noTag != nil && !errors.Is(noTag, ocistore.ErrNoTag) && !errors.Is(noTag, ocistore.ErrTag) {
		return noTag
	}
	if noImage != nil && noTag != nil {
		return noImage
	}
	if noImage == nil {
		ref := ""
		if isRef {
			ref = name
		}
		if err := c.image(ctx, d, ref); err != nil {
			return err
		}
	}
	if noTag == nil {
		return c.container(ctx, stored, name)
	}
	return nil
}

func (c *copier) container(ctx context.Context, stored *ocistore.Stored, name string) error {
	stats, err := stored.Copy(ctx, c.to, stored.Tag, c.u.progress.file)
	c.add(copied{"tag", name, stored.Digest}, stats)
	return err
}

func (c *copier) add(what copied, s repo.Stats) {
	c.report.Copied = append(c.report.Copied, what)
	c.report.Objects.Add(s)
}

// image copies a composefs image with its seal and perhaps a ref.
func (c *copier) image(ctx context.Context, d verity.Digest, ref string) error {
	seal, signatures, sequence, err := c.seal(d)
	if err != nil {
		return err
	}
	if err := c.checkOrder(d, ref, seal, sequence); err != nil {
		return err
	}
	done, err := fetch.Image(ctx, c.to, c.origin, d, c.u.progress.file)
	what := copied{"image", d.Hex(), d.Hex()}
	if ref != "" {
		what = copied{"ref", ref, d.Hex()}
	}
	c.add(what, done.Stats)
	if err != nil {
		return err
	}
	if !seal.IsZero() {
		order := sealOptions{force: c.force}
		if err := order.takeSeal(c.u, c.to, seal, signatures, nil); err != nil {
			return err
		}
	}
	if ref == "" {
		return nil
	}
	return c.to.SetRef(ref, d)
}

// seal reads the seal of an image, if it has one. It isn't verified.
func (c *copier) seal(d verity.Digest) (seal sign.Seal, all []sign.Signature, sequence uint64, err error) {
	files, err := c.from.ReadSeal(d)
	if errors.Is(err, fs.ErrNotExist) {
		return sign.Seal{}, nil, 0, nil
	}
	if err != nil {
		return sign.Seal{}, nil, 0, err
	}
	if seal, err = sign.ParseSeal(files.Text); err != nil {
		return sign.Seal{}, nil, 0, err
	}
	for _, f := range slices.SortedFunc(maps.Keys(files.Signatures), sign.File.Compare) {
		s, err := sign.ParseSignature(files.Signatures[f])
		if err != nil {
			return sign.Seal{}, nil, 0, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, s)
	}
	return seal, all, seal.Statement().Sequence, nil
}

// checkOrder refuses to go back to what is older.
func (c *copier) checkOrder(d verity.Digest, ref string, seal sign.Seal, sequence uint64) error {
	order := sealOptions{force: c.force}
	if ref == "" {
		return nil
	}
	if err := c.to.CheckRefPlace(ref); err != nil {
		return err
	}
	return order.checkRef(c.u, c.to, ref, d, sequence, !seal.IsZero(), nil)
}
