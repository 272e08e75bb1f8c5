package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/digestcache"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

type buildOptions struct {
	source    string
	read      sourceFlags
	cache     string // file with digests of directories read before; or ""
	repo      string
	output    string
	ref       string
	format    string
	algorithm string
	boot      string // the release of composefs-rs whose way it is done in; or ""
	seal      sealOptions
}

const buildLong = `Build makes an image from SOURCE and prints its digest. SOURCE is one of

%s

Without --repo and --output nothing is written: that's how to ask which digest a
tree has.

With --repo the image and the contents of all files that are larger than 64 bytes
go into the repository, which is made if it isn't there. If anything fails, the
repository stays as it was. Several builds into one repository may run at once.

Objects that are in the repository already are checked, and written anew if they are
damaged: the kernel vouches for an object with fs-verity, any other one is read.

--boot makes the tree one to boot from: / takes /usr's attributes, /boot, /run and
/sysroot become empty, extended attributes other than security.capability are
dropped, and if the tree has an SELinux policy, all files are labelled by it. Mount
points that the tree lacks (/boot, /dev, /etc, /proc, /run, /sys, /sysroot, /var) are
made, and remarks say what a machine with this root will lack.

For a tree that has all of them the digest is the same as cfsctl's. --boot=RELEASE makes
none, and always gives the digest of that release: composefs-rs-0.9.0, or
composefs-rs-0.9.4, which gives /boot and /sysroot the nanoseconds of /usr's time too.

--format v0 and v1 are the formats of the C tools, v2 is the format of composefs-rs. A
dump is read as the tools of that format read it.

Whiteouts in a layer (.wh.NAME, .wh..wh..opq) hide files of lower layers, wherever in
the layer they are, as the OCI image format says. composefs-rs applies them in the order
of the entries. Where that makes another image, build says so; --whiteouts=in-order
makes the image of composefs-rs.

--one-use-key seals the image with a key that is made now, signs nothing else and is
never written anywhere. Put its public half into the initrd that boots this image,
and nobody, you included, can make that initrd boot another one.

--cache makes the next build of a directory faster: it reads no file again whose
inode, size, modification and change time are the same as before, neither of the
directory nor of the repository. Only ext4, XFS,
Btrfs and F2FS keep these well enough; elsewhere all files are read. Root, or anybody
else who can set the clock back or write to the disk below the file system, can hide a
change from it. Without --cache every file is read and hashed.

The same tree gives the same digest, on every machine and file system.`

func newBuild(u *ui) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:     "build SOURCE",
		Short:   "make an image, and fill the repository that it needs",
		Long:    fmt.Sprintf(buildLong, sourceHelp()),
		Example: "  mkimage build ROOT\n  mkimage build --repo repo --boot --ref debian/13 --seal mykey.key --sequence 42 ROOT",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source = args[0]
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR` to put image and objects in")
	f.StringVarP(&o.output, "output", "o", "", "write the image to `FILE` (- is standard output; the digest then goes to standard error)")
	f.StringVar(&o.ref, "ref", "", "make `NAME` in the repository point to the image")
	f.StringVar(&o.format, "format", "", "image format: v0, v1 or v2 (default: the repository's, else v1)")
	f.StringVar(&o.algorithm, "digest", "", "hash: sha256 or sha512 (default: the repository's, else sha256)")
	f.StringVar(&o.boot, "boot", "", "make it a tree to boot from; with =`RELEASE` exactly as that release does")
	f.Lookup("boot").NoOptDefVal = ownWay
	f.BoolVar(&o.read.UseEpoch, "use-epoch", false, "set all times to 0")
	f.BoolVar(&o.read.SkipXattrs, "skip-xattrs", false, "leave all extended attributes out")
	f.BoolVar(&o.read.UserXattrs, "user-xattrs", false, "keep only the extended attributes user.*")
	f.BoolVar(&o.read.SkipDevices, "skip-devices", false, "leave out device nodes and whiteouts")
	f.StringVar(&o.cache, "cache", "", "remember in `FILE` the digests of files that don't change, see above")
	o.read.add(cmd)
	o.seal.flags(cmd, "seal")
	return cmd
}

// checkPlaces refuses to write to where the source is read from. What is in a directory
// would be in the next image of it, and in that image's digest; if it were left out
// silently, nobody else with the same directory would get the same digest.
func (o *buildOptions) checkPlaces() error {
	for _, out := range []struct {
		flag, name string
		dir        bool
	}{
		{"--repo", o.repo, true}, {"--output", o.output, false}, {"--cache", o.cache, false}, {"--one-use-key", o.seal.oneUse, false},
	} {
		if out.name == "" || standardOutputs[out.name] {
			continue
		}
		path, err := osfile.FollowLinks(out.name)
		if err != nil || !out.dir && isStream(path) {
			continue // whoever writes there says what is wrong
		}
		isDirectory := source.IsDirectory(o.source)
		if st, err := os.Stat(path); isDirectory && !out.dir && err == nil && st.IsDir() {
			continue
		}
		switch overlap := o.read.Overlap(o.source, path); {
		case overlap == source.Same && isDirectory:
			return fmt.Errorf("%s: %s is SOURCE itself: name another directory", out.flag, out.name)
		case overlap == source.Same:
			return fmt.Errorf("%s: %s is SOURCE too: name another file", out.flag, out.name)
		case overlap == source.Inside:
			return fmt.Errorf("%s: %s is inside %s, and would be in the next image made of it: name a place outside", out.flag, out.name, o.source)
		}
	}
	return nil
}

// check finds what can't be meant before anything is read.
func (o *buildOptions) check(cmd *cobra.Command) error {
	switch {
	case o.repo == "" && o.ref != "":
		return usagef(cmd, "--ref needs --repo")
	case o.repo == "" && o.seal.asked():
		return usagef(cmd, "sealing needs --repo: the seal is stored beside the image")
	case o.cache != "" && !source.IsDirectory(o.source):
		return usagef(cmd, "--cache is for directories, found %s", o.source)
	case o.read.SkipXattrs && o.read.UserXattrs:
		return usagef(cmd, "--skip-xattrs and --user-xattrs exclude each other")
	}
	if o.boot != "" {
		o.read.Empty = transform.Emptied
	}
	if err := errors.Join(checkSource(o.source), o.read.check(), o.checkPlaces()); err != nil {
		return usagef(cmd, "%w", err)
	}
	if o.boot != "" {
		if _, _, err := parseBoot(o.boot); err != nil {
			return usagef(cmd, "--boot: %w", err)
		}
	}
	return o.checkSeal(cmd)
}

// checkSeal finds what can't be meant about the seal and the ref.
func (o *buildOptions) checkSeal(cmd *cobra.Command) error {
	if cmd.Flags().Changed("ref") {
		if err := repo.CheckRef(o.ref); err != nil {
			return usagef(cmd, "--ref: %w", err)
		}
		if len(o.seal.forRefs) > 0 && !slices.Contains(o.seal.forRefs, o.ref) {
			return usagef(cmd, "--ref %s would point to an image whose seal is for %s: add --for-ref %s", o.ref, strings.Join(o.seal.forRefs, ", "), o.ref)
		}
	}
	if !o.seal.asked() {
		return o.seal.checkUnused(cmd, "seal")
	}
	return o.seal.check(cmd)
}

// checkOrder refuses to replace what is newer, while the repository is as it was.
func (o *buildOptions) checkOrder(u *ui, r *repo.Repo, image verity.Digest) error {
	sequence, sealed := o.seal.sequence, o.seal.asked()
	if sealed {
		if err := o.seal.checkSeal(r, image, sequence); err != nil {
			return err
		}
	} else {
		sequence, sealed = storedSequence(r, image)
	}
	if o.ref == "" {
		return nil
	}
	if err := r.CheckRefPlace(o.ref); err != nil {
		return err
	}
	return o.seal.checkRef(u, r, o.ref, image, sequence, sealed)
}

// built is what build reports.
type built struct {
	Digest  verity.Digest `json:"digest"`
	Hex     string        `json:"hex"`
	Karg    string        `json:"karg"`
	Format  string        `json:"format"`
	Size    int64         `json:"size"`
	Inodes  int           `json:"inodes"`
	Objects *repo.Stats   `json:"objects,omitempty"`
}

func (o *buildOptions) run(cmd *cobra.Command, u *ui) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	if err := errors.Join(checkOutputs(o.output, o.seal.oneUse), checkReplaceable(o.cache)); err != nil {
		return err
	}
	meta, err := o.settings(cmd)
	if err != nil {
		return err
	}
	signers, err := o.seal.open(u)
	if err != nil {
		return err
	}
	var b built
	if o.repo == "" {
		b, err = o.measure(cmd.Context(), u, meta)
	} else {
		b, err = o.store(cmd.Context(), u, meta, signers)
	}
	if err != nil {
		return err
	}
	return u.result(b, b.Hex)
}

// settings are what the options say, or else what the repository has.
func (o *buildOptions) settings(cmd *cobra.Command) (repo.Meta, error) {
	meta := repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}
	if o.repo != "" {
		r, err := repo.Open(o.repo)
		if err == nil {
			meta = r.Meta()
			r.Close()
		} else if !errors.Is(err, repo.ErrNotRepo) {
			return meta, err
		}
	}
	if o.algorithm != "" {
		alg, err := verity.ParseAlgorithm(o.algorithm)
		if err != nil {
			return meta, usagef(cmd, "--digest: %w", err)
		}
		meta.Algorithm = alg
	}
	if o.format != "" {
		format, err := parseFormat(o.format)
		if err != nil {
			return meta, usagef(cmd, "--format: %w", err)
		}
		meta.Format = format
	}
	return meta, nil
}

// parseFormat reads the name of an image format, with or without its v.
func parseFormat(s string) (erofs.Format, error) {
	f, err := erofs.ParseFormat("erofs-v" + strings.TrimPrefix(s, "v"))
	if err != nil {
		return 0, fmt.Errorf("want v0, v1 or v2, found %q", s)
	}
	return f, nil
}

// measure builds without a repository.
func (o *buildOptions) measure(ctx context.Context, u *ui, meta repo.Meta) (built, error) {
	root, err := o.tree(ctx, u, directory.NewDigests(meta.Algorithm), meta, nil)
	if err != nil {
		return built{}, err
	}
	h := verity.NewHasher(meta.Algorithm)
	var size countingWriter
	w := io.Writer(io.MultiWriter(h, &size))
	write := func(w io.Writer) error { return erofs.Write(w, root, meta.Format) }
	if o.output == "" {
		err = write(w)
	} else {
		err = u.writeOutput(o.output, func(f io.Writer) error { return write(io.MultiWriter(w, f)) })
	}
	if err != nil {
		return built{}, err
	}
	return report(h.Sum(), meta, int64(size), root), nil
}

// store builds into a repository. Objects first, then the image's name, then its
// seal, then the ref: each only when what it stands for is on stable storage.
func (o *buildOptions) store(ctx context.Context, u *ui, meta repo.Meta, signers []signer) (_ built, err error) {
	r, err := repo.Init(o.repo, meta)
	if err != nil {
		return built{}, err
	}
	defer func() {
		if err == nil {
			err = r.Close()
		} else {
			err = errors.Join(err, r.Discard())
		}
	}()
	stage, err := r.Begin()
	if err != nil {
		return built{}, err
	}
	defer stage.Abort()
	root, err := o.tree(ctx, u, stage, meta, r.OpenObject)
	if err != nil {
		return built{}, err
	}
	if !source.IsDirectory(o.source) {
		// A layer's files may be gone by the last one, or be in /boot.
		if err := stage.Keep(listing.Objects(root)); err != nil {
			return built{}, err
		}
	}
	digest, size, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, meta.Format) })
	if err != nil {
		return built{}, err
	}
	if err := ctx.Err(); err != nil {
		return built{}, err
	}
	if err := o.checkOrder(u, r, digest); err != nil {
		return built{}, err
	}
	u.progress.start("writing to disk")
	if err := stage.Commit(); err != nil {
		return built{}, err
	}
	if err := o.publish(u, r, digest, size, signers); err != nil {
		return built{}, err
	}
	b := report(digest, meta, size, root)
	stats := stage.Stats()
	if stats.Damaged > 0 {
		u.remark("remark: %s", replaced(stats.Damaged, o.repo))
	}
	b.Objects = &stats
	return b, nil
}

// replaced says how many objects were damaged.
func replaced(n int64, where string) string {
	if n == 1 {
		return fmt.Sprintf("an object in %s was damaged, and has been replaced", where)
	}
	return fmt.Sprintf("%d objects in %s were damaged, and have been replaced", n, where)
}

// publish makes the image findable and bootable. The file comes first: where it can't
// be written, nothing has happened yet.
func (o *buildOptions) publish(u *ui, r *repo.Repo, digest verity.Digest, size int64, signers []signer) error {
	if o.output != "" {
		image, err := r.OpenObject(digest)
		if err != nil {
			return err
		}
		defer image.Close()
		if err := u.writeOutput(o.output, func(w io.Writer) error { _, err := io.Copy(w, image); return err }); err != nil {
			return err
		}
	}
	if err := r.AddImage(digest); err != nil {
		return err
	}
	if len(signers) > 0 {
		if _, err := o.seal.seal(u, r, digest, r.Meta().Format, size, signers); err != nil {
			return err
		}
	}
	if o.ref != "" {
		return r.SetRef(o.ref, digest)
	}
	return nil
}

func report(d verity.Digest, meta repo.Meta, size int64, root *tree.Node) built {
	return built{Digest: d, Hex: d.Hex(), Karg: bootcfg.NewImage(d, meta.Format).Argument, Format: fmt.Sprintf("v%d", meta.Format), Size: size, Inodes: countInodes(root)}
}

func countInodes(root *tree.Node) int {
	n := 1
	for _, e := range root.Entries() {
		if !e.Link {
			n += countInodes(e.Node)
		}
	}
	return n
}

// tree reads the source. Objects that it only names can be had from object.
func (o *buildOptions) tree(ctx context.Context, u *ui, to source.Sink, meta repo.Meta, object func(verity.Digest) (*os.File, error)) (*tree.Node, error) {
	cache, err := o.openCache(u, to, meta.Algorithm)
	if err != nil {
		return nil, err
	}
	o.read.Sink, o.read.Object, o.read.Format, o.read.Policy = to, object, meta.Format, o.boot != ""
	t, err := o.read.read(ctx, u, o.source)
	if err == nil && cache != nil {
		err = cache.Save() // what is in it is true whether or not the build succeeds
	}
	if err != nil || o.boot == "" {
		return t.Root, err
	}
	return t.Root, prepareBoot(u, t, o.source, o.boot)
}

// openCache has directories read with the help of the digest cache, if there is to be one.
func (o *buildOptions) openCache(u *ui, to source.Sink, alg verity.Algorithm) (*digestcache.Cache, error) {
	if o.cache == "" {
		return nil, nil
	}
	cache, err := digestcache.Open(o.cache, alg, time.Now())
	if errors.Is(err, digestcache.ErrOther) {
		return nil, fmt.Errorf("--cache: %w: name another place for the cache", err)
	}
	if err != nil {
		u.remark("%v", err)
	}
	if stage, ok := to.(*repo.Stage); ok {
		stage.Remember(cache)
	}
	o.read.Cache = cache
	return cache, nil
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
