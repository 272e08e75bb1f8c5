package source

import (
	"bytes"
	"context"
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// TarOptions say how tar archives are read. The fields are those of tarball.Options.
type TarOptions struct {
	MaxEntries, MaxExpansion     int64
	InOrder, FollowLinks, Strict bool
}

func readTar(ctx context.Context, files string, o *options) (Tree, error) {
	current := ""
	opts := tarball.Options{
		Sink: o.Sink, Progress: o.Progress, Empty: o.Empty,
		UseEpoch: o.UseEpoch, SkipDevices: o.SkipDevices, SkipXattrs: o.SkipXattrs, UserXattrs: o.UserXattrs,
		MaxEntries: o.Tar.MaxEntries, MaxExpansion: o.Tar.MaxExpansion,
		InOrder: o.Tar.InOrder, FollowLinks: o.Tar.FollowLinks, Strict: o.Tar.Strict,
	}
	if o.Remark != nil {
		opts.Remark = func(err error) { o.Remark(&FileError{current, err}) }
	}
	kept := policyKeeper{files: make(map[*tree.Node]*bytes.Buffer), left: keptMax}
	if o.Policy {
		opts.Tee = kept.tee
	}
	b := tarball.NewBuilder(opts)
	err := o.readFiles(ctx, files, func(name string, r io.Reader) error {
		current = name
		return b.Apply(ctx, r)
	})
	if err != nil {
		return Tree{}, err
	}
	current = files // a remark at the end is about all of them
	return Tree{b.Tree(), kept.content}, nil
}
