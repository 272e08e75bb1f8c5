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
	l := o.newLayers()
	err := o.readFiles(ctx, files, func(name string, r io.Reader) error {
		l.current = name
		return l.Apply(ctx, r)
	})
	if err != nil {
		return Tree{}, err
	}
	return l.tree(files), nil
}

// layers make the tree of archives that are laid one on top of the other.
type layers struct {
	*tarball.Builder
	current string // name of what is read, for remarks
	kept    policyKeeper
}

func (o *options) newLayers() *layers {
	l := &layers{kept: policyKeeper{files: make(map[*tree.Node]*bytes.Buffer), left: keptMax}}
	opts := tarball.Options{
		Sink: o.Sink, Progress: o.Progress, Empty: o.Empty,
		UseEpoch: o.UseEpoch, SkipDevices: o.SkipDevices, SkipXattrs: o.SkipXattrs, UserXattrs: o.UserXattrs,
		MaxEntries: o.Tar.MaxEntries, MaxExpansion: o.Tar.MaxExpansion,
		InOrder: o.Tar.InOrder, FollowLinks: o.Tar.FollowLinks, Strict: o.Tar.Strict,
	}
	if o.Remark != nil {
		opts.Remark = func(err error) { o.Remark(&FileError{l.current, err}) }
	}
	if o.Policy {
		opts.Tee = l.kept.tee
	}
	l.Builder = tarball.NewBuilder(opts)
	return l
}

// tree is the tree of all layers, which together have a name.
func (l *layers) tree(name string) Tree {
	l.current = name // a remark at the end is about all of them
	return Tree{l.Tree(), l.kept.content}
}
