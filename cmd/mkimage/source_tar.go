package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// tarOptions say how tar archives are read.
type tarOptions struct {
	maxEntries, maxExpansion int64
	whiteouts                string // by which rule
	followLinks, strict      bool
}

// The rules for whiteouts.
const (
	whiteoutsOCI     = "oci"
	whiteoutsInOrder = "in-order"
)

func (o *tarOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Int64Var(&o.maxEntries, "max-entries", tarball.DefaultMaxEntries, "refuse tar archives with more than `N` entries; a million entries need about 600 MB of memory, at worst 1.3 GB")
	f.Int64Var(&o.maxExpansion, "max-expansion", 0, "refuse tar archives that unpack to more than `BYTES`, holes included (default 16 GiB plus 64 times the archive's size)")
	f.StringVar(&o.whiteouts, "whiteouts", whiteoutsOCI, "apply the whiteouts of layers by `RULE`: oci (they hide lower layers) or in-order (all that came before, as composefs-rs does)")
	f.BoolVar(&o.followLinks, "follow-layer-links", false, "let paths in tar archives lead through symbolic links, inside the tree")
	f.BoolVar(&o.strict, "strict", false, "refuse tar archives without an end marker")
}

func (o *tarOptions) check() error {
	switch {
	case o.whiteouts != whiteoutsOCI && o.whiteouts != whiteoutsInOrder:
		return fmt.Errorf("--whiteouts: want oci or in-order, found %q", o.whiteouts)
	case o.maxEntries <= 0:
		return fmt.Errorf("--max-entries: want a number above 0, found %d", o.maxEntries)
	case o.maxExpansion < 0:
		return fmt.Errorf("--max-expansion: want a number of bytes, found %d", o.maxExpansion)
	}
	return nil
}

func readTar(ctx context.Context, u *ui, files string, how *reading) (source, error) {
	current := ""
	opts := tarball.Options{
		Sink: how.sink, Progress: how.Progress, Empty: how.Empty,
		UseEpoch: how.UseEpoch, SkipDevices: how.SkipDevices, SkipXattrs: how.SkipXattrs, UserXattrs: how.UserXattrs,
		MaxEntries: how.tar.maxEntries, MaxExpansion: how.tar.maxExpansion,
		InOrder: how.tar.whiteouts == whiteoutsInOrder, FollowLinks: how.tar.followLinks, Strict: how.tar.strict,
		Remark: func(err error) { u.remark("%v", remarkOf(current, err)) },
	}
	kept := policyKeeper{files: make(map[*tree.Node]*bytes.Buffer), left: keptMax}
	if how.policy {
		opts.Tee = kept.tee
	}
	b := tarball.NewBuilder(opts)
	err := eachNamed(u, files, how.want, func(name string, r io.Reader) error {
		current = name
		return b.Apply(ctx, r)
	})
	if err != nil {
		return source{}, tarError(err, current)
	}
	current = files
	return source{b.Tree(), kept.content}, nil
}

// remarkOf is what is said of an odd archive.
func remarkOf(name string, err error) error {
	var order *tarball.WhiteoutOrder
	switch {
	case errors.As(err, &order) && order.InOrder:
		err = fmt.Errorf("%w; for the image as container runtimes have it leave --whiteouts out", err)
	case order != nil:
		err = fmt.Errorf("%w; to get its digest say --whiteouts=in-order", err)
	case errors.Is(err, tarball.ErrNoEnd):
		err = fmt.Errorf("%w; to refuse such archives say --strict", err)
	}
	if name == "-" {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// tarError adds what helps.
func tarError(err error, name string) error {
	if name == "-" {
		name = "FILE"
	}
	var packed *tarball.PackedError
	var link *tarball.LinkError
	var expansion *tarball.ExpansionError
	switch {
	case errors.Is(err, tarball.ErrTooMany):
		return fmt.Errorf("%w; if you trust the archive, raise the limit: mkimage build --max-entries N", err)
	case errors.As(err, &expansion):
		return fmt.Errorf("%w; if you trust the archive, raise the limit: mkimage build --max-expansion BYTES", err)
	case errors.As(err, &packed):
		return fmt.Errorf("%w; unpack it on the way: %s %s | mkimage build tar:-", err, packed.Unpack, shellWord(name))
	case errors.As(err, &link):
		return fmt.Errorf("%w; to let layers write through links, as container runtimes do, say --follow-layer-links", err)
	}
	return err
}
