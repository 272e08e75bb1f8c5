package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/digestcache"
	"github.com/composefs-go/composefs/internal/store/repo"
)

// mountRules are what --mounts takes.
var mountRules = map[string]directory.MountRule{
	"refuse": directory.RefuseMounts, "empty": directory.EmptyMounts, "include": directory.IncludeMounts,
}

// mountsFlag adds --mounts. The rule is set by checkMounts.
func (how *reading) mountsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&how.mounts, "mounts", "refuse", "file systems mounted inside the directory: refuse them, take an empty directory (empty), or take their content (include)")
}

func (how *reading) checkMounts() (err error) {
	rule, ok := mountRules[how.mounts]
	if !ok {
		return fmt.Errorf("--mounts: want refuse, empty or include, found %q", how.mounts)
	}
	how.Mounts = rule
	return nil
}

func readDirectory(ctx context.Context, u *ui, dir string, how *reading) (source, error) {
	if err := checkDirectory(dir); err != nil {
		return source{}, err
	}
	root, err := readCached(ctx, u, dir, how)
	if mount := (*directory.MountError)(nil); errors.As(err, &mount) {
		err = fmt.Errorf("%w; unmount it, or say --mounts=empty for an empty directory in its place, --mounts=include for the mounted files", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		err = refusedAt(inTree, err)
	}
	if err != nil || !how.policy {
		return source{root: root}, err
	}
	return source{root, directoryContent(root, dir)}, nil
}

// readCached reads a directory with the help of the digest cache, if there is to be
// one. What is in it is true whether or not the build succeeds later.
func readCached(ctx context.Context, u *ui, dir string, how *reading) (*tree.Node, error) {
	if how.cache == "" {
		return directory.Read(ctx, dir, how.Options)
	}
	cache, err := digestcache.Open(how.cache, how.algorithm, time.Now())
	if errors.Is(err, digestcache.ErrOther) {
		return nil, fmt.Errorf("--cache: %w: name another place for the cache", err)
	}
	if err != nil {
		u.remark("%v", err)
	}
	how.Cache = cache
	if stage, ok := how.sink.(*repo.Stage); ok {
		stage.Remember(cache)
	}
	root, err := directory.Read(ctx, dir, how.Options)
	if err != nil {
		return nil, err
	}
	return root, cache.Save()
}
