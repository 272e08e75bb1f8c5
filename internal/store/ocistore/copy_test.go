package ocistore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

func find(t testing.TB, r *repo.Repo, name string) *ocistore.Stored {
	t.Helper()
	i, err := ocistore.Find(r, name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestACopyIsThePulledImage(t *testing.T) {
	for _, layout := range []string{"bootable", "whiteouts", "two-tags"} {
		for _, meta := range []repo.Meta{sha256V1, {Algorithm: verity.SHA512, Format: erofs.V2}} {
			from, dir := newRepo(t, meta)
			image := open(t, "oci:"+layouts+layout+map[bool]string{true: ":one"}[layout == "two-tags"])
			if _, err := pull(t, from, image, ocistore.Options{Tag: "tag", Bootable: layout == "bootable"}); err != nil {
				t.Fatal(err)
			}
			to, copied := newRepo(t, meta)
			stats, err := find(t, from, "tag").Copy(t.Context(), to, "tag", nil)
			if err != nil || stats.Present != 0 {
				t.Fatal(stats, err)
			}
			if a, b := snapshot(t, dir), snapshot(t, copied); a != b {
				t.Errorf("%s: want\n%s\nfound\n%s", layout, a, b)
			}
			again, err := find(t, from, "tag").Copy(t.Context(), to, "other", nil)
			if err != nil || again.Stored != 0 {
				t.Error(again, err)
			}
		}
	}
}

func TestACopyHasNothingDamaged(t *testing.T) {
	from, dir := newRepo(t, sha256V1)
	if _, err := pull(t, from, open(t, "oci:"+layouts+"basic-gzip"), ocistore.Options{Tag: "tag"}); err != nil {
		t.Fatal(err)
	}
	stored := find(t, from, "tag")
	objects, err := filepath.Glob(filepath.Join(dir, "objects/*/*"))
	if err != nil || len(objects) < 5 {
		t.Fatal(objects, err)
	}
	for _, object := range objects {
		good, err := os.ReadFile(object)
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 1
		if err := errors.Join(err, os.Remove(object), os.WriteFile(object, bad, 0o444)); err != nil {
			t.Fatal(err)
		}
		to, _ := newRepo(t, sha256V1)
		if _, err := stored.Copy(t.Context(), to, "tag", nil); err == nil {
			t.Errorf("%s is damaged, and was copied", object)
		}
		if _, err := ocistore.Find(to, "tag"); !errors.Is(err, ocistore.ErrNoTag) {
			t.Error(err)
		}
		if err := errors.Join(os.Remove(object), os.WriteFile(object, good, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := newRepo(t, repo.Meta{Algorithm: verity.SHA512, Format: erofs.V1})
	if _, err := stored.Copy(t.Context(), other, "tag", nil); !errors.Is(err, repo.ErrOther) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	to, _ := newRepo(t, sha256V1)
	if _, err := stored.Copy(ctx, to, "tag", nil); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

func TestStreamsArePrintedAndCompared(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	image := open(t, "oci:"+layouts+"basic-gzip")
	if _, err := pull(t, r, image, ocistore.Options{Tag: "tag"}); err != nil {
		t.Fatal(err)
	}
	cat := func(name string) (string, error) {
		var b strings.Builder
		err := ocistore.Cat(t.Context(), r, &b, name)
		return b.String(), err
	}
	for name, want := range map[string]string{"oci-manifest-" + image.Digest: string(image.Manifest), "refs/oci/tag": string(image.Manifest), "oci-config-" + image.ConfigDigest: string(image.Config)} {
		if found, err := cat(name); err != nil || found != want {
			t.Errorf("%s: %q, %v", name, found, err)
		}
	}
	id := image.Layers[0].DiffID
	archive, err := cat("oci-layer-" + id)
	if sum := sha256.Sum256([]byte(archive)); err != nil || oci.Digest(sum[:]) != id {
		t.Error(err)
	}
	wrong := "oci-layer-sha256:" + strings.Repeat("0", 64)
	if err := os.Rename(dir+"/streams/oci-layer-"+id, dir+"/streams/"+wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := cat(wrong); !errors.Is(err, ocistore.ErrBroken) {
		t.Error(err)
	}
	for _, name := range []string{"nosuch", "refs/nosuch", "../x"} {
		if _, err := cat(name); err == nil {
			t.Error(name)
		}
	}
	full := errors.New("full")
	if err := ocistore.Cat(t.Context(), r, failing{full}, "refs/oci/tag"); !errors.Is(err, full) || errors.Is(err, ocistore.ErrBroken) {
		t.Error(err)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

// A stream that stands for more than anybody can read is refused, wherever it would be read.
func TestAStreamThatStandsForTooMuchIsRefused(t *testing.T) {
	r, _ := newRepo(t, sha256V1)
	stage, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	object, _, err := stage.Put(func(w io.Writer) error {
		_, err := w.Write(make([]byte, size))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := splitstream.NewWriter(verity.SHA256, splitstream.Layer)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 15 { // 32 GiB
		if err := w.Object(object, size); err != nil {
			t.Fatal(err)
		}
	}
	d, _, err := stage.Put(w.Finish)
	name := "oci-layer-sha256:" + strings.Repeat("ab", 32)
	if err := errors.Join(err, stage.Commit(), r.SetStream(name, d)); err != nil {
		t.Fatal(err)
	}
	if err := ocistore.CheckStream(t.Context(), r, name, true); !errors.Is(err, ocistore.ErrBroken) || !errors.Is(err, splitstream.ErrTooLarge) {
		t.Error(err)
	}
	if err := ocistore.Cat(t.Context(), r, io.Discard, name); !errors.Is(err, splitstream.ErrTooLarge) {
		t.Error(err)
	}
}
