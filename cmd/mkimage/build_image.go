package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/store/digestcache"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// buildReport is what build reports.
type buildReport struct {
	Digest  verity.Digest `json:"digest"`
	Hex     string        `json:"hex"`
	Karg    string        `json:"karg"`
	Format  string        `json:"format"`
	Size    int64         `json:"size"`
	Inodes  int           `json:"inodes"`
	Objects *repo.Stats   `json:"objects,omitempty"`
}

// settings returns the settings that the flags ask for, or else those of the repository.
func (o *buildOptions) settings(cmd *cobra.Command, u *ui) (repo.Meta, error) {
	meta := repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}
	if o.repo != "" {
		r, err := openRepo(u, o.repo)
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
func (o *buildOptions) measure(ctx context.Context, u *ui, meta repo.Meta) (buildReport, error) {
	root, err := o.tree(ctx, u, directory.NewDigests(meta.Algorithm), meta, nil)
	if err != nil {
		return buildReport{}, err
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
		return buildReport{}, err
	}
	return report(h.Sum(), meta, int64(size), root), nil
}

// store builds into a repository. The objects come first, then the name of the image, its
// seal and the ref: each only once everything that it refers to is on stable storage.
func (o *buildOptions) store(ctx context.Context, u *ui, meta repo.Meta, signers []signer) (_ buildReport, err error) {
	r, err := locking(u, o.repo, func() (*repo.Repo, error) { return repo.Init(o.repo, meta) })
	if err != nil {
		return buildReport{}, err
	}
	defer closeOrDiscard(r, &err)
	stage, err := r.Begin()
	if err != nil {
		return buildReport{}, err
	}
	defer stage.Abort()
	root, err := o.tree(ctx, u, stage, meta, r.OpenObject)
	if err != nil {
		return buildReport{}, err
	}
	if !source.IsDirectory(o.source) {
		// Upper layers may have removed files of lower ones, and --boot empties /boot.
		if err := stage.Keep(listing.Objects(root)); err != nil {
			return buildReport{}, err
		}
	}
	digest, size, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, meta.Format) })
	if err != nil {
		return buildReport{}, err
	}
	if err := ctx.Err(); err != nil {
		return buildReport{}, err
	}
	if err := o.checkOrder(u, r, digest, signers); err != nil {
		return buildReport{}, err
	}
	u.progress.start("writing to disk")
	if err := stage.Commit(); err != nil {
		return buildReport{}, err
	}
	if err := o.publish(u, r, digest, size, signers); err != nil {
		return buildReport{}, err
	}
	b := report(digest, meta, size, root)
	stats := stage.Stats()
	if stats.Damaged > 0 {
		u.remark("%s", replaced(stats.Damaged, o.repo))
	}
	b.Objects = &stats
	return b, nil
}

// checkOrder refuses to replace a newer image, before the repository is changed.
func (o *buildOptions) checkOrder(u *ui, r *repo.Repo, image verity.Digest, signers []signer) error {
	keys := publicKeys(signers)
	sequence, sealed := o.seal.sequence, o.seal.asked()
	if sealed {
		if err := o.seal.checkSeal(u, r, image, sequence, keys); err != nil {
			return err
		}
	} else {
		have := readSequence(r, image, nil)
		sequence, sealed = have.number, have.there
	}
	if o.ref == "" {
		return nil
	}
	if err := r.CheckRefPlace(o.ref); err != nil {
		return err
	}
	return o.seal.checkRef(u, r, o.ref, image, sequence, sealed, keys)
}

// replaced says how many objects were damaged.
func replaced(n int64, where string) string {
	if n == 1 {
		return fmt.Sprintf("an object in %s was damaged, and has been replaced", where)
	}
	return fmt.Sprintf("%d objects in %s were damaged, and have been replaced", n, where)
}

// publish writes the image's file, then its name, seal and ref in the repository. The file
// comes first: if it can't be written, the repository has no new image.
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
		seal, err := o.seal.newSeal(digest, r.Meta().Format, size)
		if err == nil {
			_, err = o.seal.store(u, r, seal, signers)
		}
		if err != nil {
			return fmt.Errorf("%w; the image is in %s now, without this seal", err, o.repo)
		}
	}
	if o.ref != "" {
		if err := r.SetRef(o.ref, digest); err != nil {
			return fmt.Errorf("%w; the image %s is in %s now, without this ref", err, digest.Hex(), o.repo)
		}
	}
	return nil
}

func report(d verity.Digest, meta repo.Meta, size int64, root *tree.Node) buildReport {
	return buildReport{Digest: d, Hex: d.Hex(), Karg: bootcfg.NewImage(d, meta.Format).Argument, Format: fmt.Sprintf("v%d", meta.Format), Size: size, Inodes: countInodes(root)}
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

// tree reads the source. The function object opens objects that the source only refers to.
func (o *buildOptions) tree(ctx context.Context, u *ui, to source.Sink, meta repo.Meta, object func(verity.Digest) (*os.File, error)) (*tree.Node, error) {
	o.read.Sink, o.read.Object, o.read.Format, o.read.Policy = to, object, meta.Format, o.boot != ""
	var t source.Tree
	var err error
	if o.cache == "" {
		t, err = o.read.read(ctx, u, o.source)
	} else {
		t, err = o.readCached(ctx, u, meta.Algorithm)
	}
	if err != nil || o.boot == "" {
		return t.Root, err
	}
	return t.Root, prepareBoot(u, t, o.source, o.boot)
}

// readCached reads a directory with the help of the digest cache. The cache is saved at
// once: its digests are right even if the build fails later.
func (o *buildOptions) readCached(ctx context.Context, u *ui, alg verity.Algorithm) (source.Tree, error) {
	cache, err := digestcache.Open(o.cache, alg, time.Now())
	if errors.Is(err, digestcache.ErrOther) {
		return source.Tree{}, fmt.Errorf("--cache: %w: name another place for the cache", err)
	}
	if err != nil {
		u.remark("%v", err)
	}
	if stage, ok := o.read.Sink.(*repo.Stage); ok {
		stage.Remember(cache)
	}
	reading := cache.NewReading()
	o.read.Cache = reading
	t, err := o.read.read(ctx, u, o.source)
	if err != nil {
		return t, err
	}
	if n := reading.Fresh(); n > 0 {
		u.remark("--cache doesn't remember %s, changed less than a minute before this build: the next one reads them again", countFiles(int(n)))
	}
	if n := reading.Unfit(); n > 0 {
		u.remark("--cache doesn't remember %s, on another file system than ext4, XFS, Btrfs and F2FS: every build reads them", countFiles(int(n)))
	}
	return t, refusedAt(inOutput, cache.Save())
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
