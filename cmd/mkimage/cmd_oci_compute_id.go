package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

type computeIDOptions struct {
	read              sourceFlags
	algorithm, format string
	bootable          bool
	xattrs            string
}

// xattrModes are what --xattrs takes, as cfsctl does.
var xattrModes = map[string]transform.XattrMode{"allowlist-only": transform.AllowlistOnly, "keep-user-xattrs": transform.KeepUser}

func newOCIComputeID(u *ui) *cobra.Command {
	var o computeIDOptions
	cmd := &cobra.Command{
		Use:   "compute-id REF",
		Short: "print the digest of the image that a container image makes",
		Long: `Compute-id prints the digest of the composefs image that composefs-rs makes of a
container image, as cfsctl oci compute-id does. Nothing is written.

/ takes /usr's attributes, /run becomes empty, and extended attributes other than
security.capability are dropped. With --bootable, /boot and /sysroot must be there and
become empty, and if there is an SELinux policy, all files are labelled by it.

cfsctl applies the whiteouts of a layer in the order of its entries. Where that loses files
of the layer itself, a remark says so; --whiteouts=in-order gives cfsctl's digest. cfsctl
refuses layers with files in directories that have no entry; here these get the mode 0755,
owner 0:0 and time 0.`,
		Example: "  mkimage oci compute-id --bootable oci:DIR:TAG",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, u, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.bootable, "bootable", false, "prepare the tree for booting, as composefs-rs 0.9.4 does")
	f.StringVar(&o.algorithm, "digest", "sha256", "hash: sha256 or sha512")
	f.StringVar(&o.format, "format", "v1", "image format: v0, v1 or v2")
	f.StringVar(&o.xattrs, "xattrs", "allowlist-only", "keep extended attributes by `MODE`: allowlist-only (security.capability) or keep-user-xattrs (user.* too)")
	o.read.addLayers(cmd)
	return cmd
}

func (o *computeIDOptions) run(cmd *cobra.Command, u *ui, ref string) error {
	if _, err := oci.ParseReference(ref); err != nil {
		return usagef(cmd, "REF: %w", err)
	}
	meta, err := o.meta()
	if err != nil {
		return usagef(cmd, "%w", err)
	}
	mode, ok := xattrModes[o.xattrs]
	if !ok {
		return usagef(cmd, "--xattrs: want allowlist-only or keep-user-xattrs, found %q", o.xattrs)
	}
	if err := o.read.check(); err != nil {
		return usagef(cmd, "%w", err)
	}
	root, err := o.tree(cmd.Context(), u, ref, meta, mode)
	if err != nil {
		return err
	}
	h := verity.NewHasher(meta.Algorithm)
	var size countingWriter
	if err := erofs.Write(io.MultiWriter(h, &size), root, meta.Format); err != nil {
		return err
	}
	r := report(h.Sum(), meta, int64(size), root)
	return u.result(r, r.Hex)
}

// meta returns the settings of the flags.
func (o *computeIDOptions) meta() (meta repo.Meta, err error) {
	if meta.Algorithm, err = verity.ParseAlgorithm(o.algorithm); err != nil {
		return meta, fmt.Errorf("--digest: %w", err)
	}
	if meta.Format, err = parseFormat(o.format); err != nil {
		return meta, fmt.Errorf("--format: %w", err)
	}
	return meta, nil
}

// tree reads the image's tree and prepares it as composefs-rs does.
func (o *computeIDOptions) tree(ctx context.Context, u *ui, ref string, meta repo.Meta, mode transform.XattrMode) (*tree.Node, error) {
	o.read.Sink, o.read.Format, o.read.Policy = directory.NewDigests(meta.Algorithm), meta.Format, o.bootable
	if o.bootable {
		o.read.Empty = transform.Emptied
	}
	t, err := o.read.read(ctx, u, ref)
	if err != nil {
		return nil, err
	}
	if err := transform.OCI(t.Root, mode); err != nil {
		return nil, fmt.Errorf("%s: %w: it is no image to boot from", ref, err)
	}
	if o.bootable {
		if err := transform.Release094.Boot(t.Root, t.Content); err != nil {
			return nil, fmt.Errorf("%s: %w", ref, adviseBoot(err, true))
		}
	}
	return t.Root, nil
}
