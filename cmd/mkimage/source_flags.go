package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// sourceHelp lists the kinds of sources for the help of a command.
func sourceHelp() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-31s %s\n", "DIR", "directory")
	for _, k := range source.Kinds() {
		fmt.Fprintf(&b, "  %-31s %s\n", k.Prefix+k.Operand, k.What)
	}
	return b.String() + "\nA FILE of - is standard input, except for container images. For these, @sha256:HEX may name\nthe manifest, after the tag or instead of it."
}

// sourceFlags are the flags that say how a source is read.
type sourceFlags struct {
	source.Options
	mounts    string // the rule for mounts inside a directory
	whiteouts string // the rule for the whiteouts of layers
}

// The rules for whiteouts.
const (
	whiteoutsOCI     = "oci"
	whiteoutsInOrder = "in-order"
)

// mountRules are what --mounts takes.
var mountRules = map[string]directory.MountRule{
	"refuse": directory.RefuseMounts, "empty": directory.EmptyMounts, "include": directory.IncludeMounts,
}

// add adds the flags that all commands with sources have.
func (s *sourceFlags) add(cmd *cobra.Command) {
	s.addLayers(cmd)
	cmd.Flags().StringVar(&s.mounts, "mounts", "refuse", "what to do with file systems mounted inside the directory: refuse, empty (an empty directory instead) or include (their content)")
}

// addLayers adds the flags for container images and the archives that they consist of.
func (s *sourceFlags) addLayers(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.Image.Platform, "platform", "", platformUsage)
	s.addReplay(cmd)
}

// addReplay adds the flags for archives.
func (s *sourceFlags) addReplay(cmd *cobra.Command) {
	s.mounts = "refuse"
	f := cmd.Flags()
	f.Int64Var(&s.Tar.MaxEntries, "max-entries", tarball.DefaultMaxEntries, "refuse tar archives with more than `N` entries; a million entries take about 600 MB of memory, at most 1.3 GB")
	f.Int64Var(&s.Tar.MaxExpansion, "max-expansion", 0, "refuse tar archives that together unpack to more than `BYTES`, including holes (default: 16 GiB plus 64 times their size)")
	f.StringVar(&s.whiteouts, "whiteouts", whiteoutsOCI, "apply the whiteouts of layers by `RULE`: oci (they hide files of lower layers) or in-order (they hide everything before them, as in composefs-rs)")
	f.BoolVar(&s.Tar.FollowLinks, "follow-layer-links", false, "follow symbolic links in the paths of tar archives, inside the tree")
	f.BoolVar(&s.Tar.Strict, "strict", false, "refuse tar archives without an end marker")
}

// check finds invalid values, and sets the options that the rules stand for.
func (s *sourceFlags) check() error {
	rule, ok := mountRules[s.mounts]
	switch {
	case s.whiteouts != whiteoutsOCI && s.whiteouts != whiteoutsInOrder:
		return fmt.Errorf("--whiteouts: want oci or in-order, found %q", s.whiteouts)
	case s.Tar.MaxEntries <= 0:
		return fmt.Errorf("--max-entries: want a number above 0, found %d", s.Tar.MaxEntries)
	case s.Tar.MaxExpansion < 0:
		return fmt.Errorf("--max-expansion: want a number of bytes, found %d", s.Tar.MaxExpansion)
	case !ok:
		return fmt.Errorf("--mounts: want refuse, empty or include, found %q", s.mounts)
	}
	if err := oci.CheckPlatform(s.Image.Platform); err != nil {
		return fmt.Errorf("--platform: %w", err)
	}
	s.Mounts, s.Tar.InOrder = rule, s.whiteouts == whiteoutsInOrder
	return nil
}

// checkSource refuses arguments that can't name a source.
func checkSource(arg string) error {
	if err := source.Check(arg); err != nil {
		return fmt.Errorf("SOURCE: %w", err)
	}
	return nil
}

// read reads the source that an argument names.
func (s *sourceFlags) read(ctx context.Context, u *ui, arg string) (source.Tree, error) {
	o := s.Options
	o.Stdin, o.Progress = u.in, u.progress.file
	o.Remark = func(err error) { u.remark("%v", adviseSourceRemark(err)) }
	u.progress.start("reading " + arg)
	defer u.progress.stop()
	t, err := source.Read(ctx, arg, o)
	if source.IsDirectory(arg) && errors.Is(err, fs.ErrPermission) {
		err = refusedAt(inTree, err)
	}
	return t, adviseSource(err)
}
