package fsck_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/collect"
	"github.com/composefs-go/composefs/internal/store/fsck"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// Programs that pull, build, untag, collect and check at once lose nothing that has a name, and
// none of them ever sees anything incomplete.
func TestProgramsAtOnceLoseNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	first, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	var group errgroup.Group
	for n, work := range []func(*repo.Repo, *rand.Rand) error{pullAny, pullAny, buildAny, untagAny, collectAll, checkAll, checkAll} {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		group.Go(func() error {
			for range rounds {
				// A process of its own, as far as locks go.
				opened, err := repo.Open(dir)
				if err != nil {
					return err
				}
				err = work(opened, r)
				opened.Close()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	last, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if err := checkAll(last, nil); err != nil {
		t.Error(err)
	}
}

var someLayouts = []string{"basic-gzip", "bootable", "whiteouts", "hardlinks-cross-layer", "xattrs"}

func pullAny(r *repo.Repo, rnd *rand.Rand) error {
	layout := someLayouts[rnd.IntN(len(someLayouts))]
	i, err := oci.Open(context.Background(), oci.Reference{Transport: oci.Layout, Path: layouts + layout}, oci.Options{})
	if err != nil {
		return err
	}
	defer i.Close()
	tag := fmt.Sprint("t", rnd.IntN(4))
	done, err := ocistore.Pull(context.Background(), r, i, ocistore.Options{Tag: tag})
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if done.Replaced > 0 || done.Stats.Damaged > 0 {
		return fmt.Errorf("pull: something was damaged: %+v", done)
	}
	return nil
}

func buildAny(r *repo.Repo, rnd *rand.Rand) error {
	stage, err := r.Begin()
	if err != nil {
		return err
	}
	defer stage.Abort()
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for i := range 5 {
		content := strings.Repeat(fmt.Sprint(rnd.IntN(10)), 1000)
		d, err := stage.PutBytes([]byte(content))
		if err != nil {
			return err
		}
		if err := root.Add(fmt.Sprint("f", i), &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: 1000, Object: d, Payload: d.ObjectPath()}); err != nil {
			return err
		}
	}
	tree.Relink(root)
	d, _, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, erofs.V1) })
	if err != nil {
		return err
	}
	if err := stage.Commit(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := r.AddImage(d); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return r.SetRef(fmt.Sprint("r", rnd.IntN(2)), d)
}

func untagAny(r *repo.Repo, rnd *rand.Rand) error {
	tags, err := ocistore.List(r)
	if err != nil || len(tags) == 0 {
		return err
	}
	t := tags[rnd.IntN(len(tags))]
	if t.Err != nil {
		return fmt.Errorf("list: %s: %w", t.Tag, t.Err)
	}
	return ocistore.Untag(r, t.Tag)
}

func collectAll(r *repo.Repo, _ *rand.Rand) error {
	if err := r.Exclude(); err != nil {
		return err
	}
	plan, err := collect.New(context.Background(), r, collect.Options{Everything: true})
	if err == nil {
		err = plan.Apply(context.Background(), r)
	}
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}

func checkAll(r *repo.Repo, _ *rand.Rand) error {
	report, err := fsck.Check(context.Background(), r, fsck.Options{})
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("fsck: found %+v", report.Findings)
	}
	return err
}
