package ocistore_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// layouts are container images; testdata/streams.json says what cfsctl 0.9.4 stores of
// them. The digests of streams aren't in it: they depend on the zstd encoder.
const layouts = "../../../cmd/mkimage/testdata/oci/layouts/"

// A peer is what cfsctl stored of an image.
type peer struct {
	Streams map[string]peerStream
	Images  []string
	Refs    map[string]string
}

type peerStream struct {
	Type    string
	Size    int64
	Objects []string
	Chunks  []int64 // an object's index, or the negative number of inline bytes
	Refs    map[string]string
}

func newRepo(t testing.TB, meta repo.Meta) (*repo.Repo, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	return openRepo(t, dir, meta), dir
}

func openRepo(t testing.TB, dir string, meta repo.Meta) *repo.Repo {
	t.Helper()
	r, err := repo.Init(dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var sha256V1 = repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}

func open(t testing.TB, reference string) *oci.Image {
	t.Helper()
	r, err := oci.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	i, err := oci.Open(context.Background(), r, oci.Options{Platform: "linux/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

func pull(t testing.TB, r *repo.Repo, image *oci.Image, o ocistore.Options) (ocistore.Pulled, error) {
	t.Helper()
	return ocistore.Pull(context.Background(), r, image, o)
}

// ours are the layouts that we treat otherwise than cfsctl.
var ours = map[string]string{
	"name-256":      "a name that is too long for a file system",
	"wrong-diff-id": "cfsctl doesn't compare diff_ids of layouts",
	"with-referrer": "it needs a tag",
	"two-tags":      "it needs a tag",
}

func TestStreamsAreTheOnesThatCfsctlStores(t *testing.T) {
	var peers map[string]map[string]peer
	if err := json.Unmarshal(testutil.ReadFile(t, "testdata/streams.json"), &peers); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		if ours[name] != "" {
			continue
		}
		for _, mode := range slices.Sorted(maps.Keys(peers[name])) {
			t.Run(name+"/"+mode, func(t *testing.T) {
				compareWithPeer(t, layouts+name, mode, peers[name][mode])
			})
			compared++
		}
	}
	if compared < 90 {
		t.Errorf("compared %d", compared)
	}
}

func compareWithPeer(t *testing.T, layout, mode string, want peer) {
	meta := repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}
	if strings.HasPrefix(mode, "sha512") {
		meta.Algorithm = verity.SHA512
	}
	if strings.Contains(mode, "v2") {
		meta.Format = erofs.V2
	}
	r, dir := newRepo(t, meta)
	o := ocistore.Options{Tag: "t", Bootable: strings.HasSuffix(mode, "bootable")}
	o.Tar.InOrder = true
	if _, err := pull(t, r, open(t, "oci:"+layout), o); err != nil {
		t.Fatal(err)
	}
	for ref, target := range want.Refs {
		if got, err := os.Readlink(filepath.Join(dir, "streams/refs", ref)); err != nil || got != target {
			t.Errorf("ref %s: want %s, found %s (%v)", ref, target, got, err)
		}
	}
	if got := names(t, filepath.Join(dir, "images")); !slices.Equal(got, want.Images) {
		t.Errorf("images: want %v, found %v", want.Images, got)
	}
	if got, all := names(t, filepath.Join(dir, "streams")), slices.Sorted(maps.Keys(want.Streams)); !slices.Equal(got, all) {
		t.Errorf("streams: want %v, found %v", all, got)
	}
	for name, stream := range want.Streams {
		compareStream(t, dir, name, stream)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			all = append(all, e.Name())
		}
	}
	return all
}

func compareStream(t *testing.T, dir, name string, want peerStream) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "streams", name))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s, err := splitstream.Open(f, st.Size())
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if s.Type.String() != want.Type || s.Size != want.Size {
		t.Errorf("%s: want %s of %d bytes, found %v of %d", name, want.Type, want.Size, s.Type, s.Size)
	}
	var objects []string
	for _, d := range s.Objects {
		objects = append(objects, d.Hex())
	}
	if !slices.Equal(objects, want.Objects) {
		t.Errorf("%s: want objects %v, found %v", name, want.Objects, objects)
	}
	var chunks []int64
	for c, err := range s.Chunks() {
		if err != nil {
			t.Fatal(err)
		}
		n := int64(slices.Index(s.Objects, c.Object))
		if c.Inline != nil {
			n = -int64(len(c.Inline))
		}
		// Long chunks come in pieces.
		if last := len(chunks) - 1; n < 0 && last >= 0 && chunks[last] < 0 {
			chunks[last] += n
			continue
		}
		chunks = append(chunks, n)
	}
	if !slices.Equal(chunks, want.Chunks) {
		t.Errorf("%s: want chunks %v, found %v", name, want.Chunks, chunks)
	}
	refs := make(map[string]string)
	for _, r := range s.Refs {
		refs[r.Name] = ""
		if strings.HasPrefix(r.Name, "composefs") {
			refs[r.Name] = r.Object.Hex()
		}
	}
	if !maps.Equal(refs, want.Refs) {
		t.Errorf("%s: want refs %v, found %v", name, want.Refs, refs)
	}
}

// A second pull finds everything there, and changes nothing.
func TestPullingAgainChangesNothing(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	o := ocistore.Options{Tag: "a/b:c", Bootable: true}
	first, err := pull(t, r, open(t, "oci:"+layouts+"bootable"), o)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	second, err := pull(t, r, open(t, "oci:"+layouts+"bootable"), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first.Images, second.Images) || second.Stats.Stored != 0 || second.Stored != 1 || second.Replaced != 0 {
		t.Errorf("found %+v after %+v", second, first)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("the repository changed:\n%s\nbefore\n%s", after, before)
	}
}

// What a plain pull makes beside an earlier one to boot, and the other way round.
func TestImagesOfEarlierPullsStay(t *testing.T) {
	for _, order := range [][]bool{{true, false}, {false, true}} {
		r, _ := newRepo(t, sha256V1)
		for _, bootable := range order {
			if _, err := pull(t, r, open(t, "oci:"+layouts+"bootable"), ocistore.Options{Tag: "t", Bootable: bootable}); err != nil {
				t.Fatal(err)
			}
		}
		i, err := ocistore.Find(r, "t")
		if err != nil {
			t.Fatal(err)
		}
		if len(i.Images) != 2 || i.Images[0].Bootable == i.Images[1].Bootable {
			t.Errorf("bootable %v: found %v", order, i.Images)
		}
	}
}

// A container image that is pulled by other rules makes another image, and that is told.
func TestAnImageByOtherRulesSupersedesTheFirst(t *testing.T) {
	r, _ := newRepo(t, sha256V1)
	first, err := pull(t, r, open(t, "oci:"+layouts+"whiteouts"), ocistore.Options{Tag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	o := ocistore.Options{Tag: "t"}
	o.Tar.InOrder = true
	second, err := pull(t, r, open(t, "oci:"+layouts+"whiteouts"), o)
	if err != nil || !slices.Equal(second.Superseded, first.Images) {
		t.Errorf("found %+v after %+v, %v", second, first, err)
	}
}

// Anything that is damaged in a repository is replaced by the next pull.
func TestAPullMendsWhatIsDamaged(t *testing.T) {
	image := layouts + "whiteouts"
	r, dir := newRepo(t, sha256V1)
	if _, err := pull(t, r, open(t, "oci:"+image), ocistore.Options{Tag: "t"}); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, dir)
	objects, err := filepath.Glob(filepath.Join(dir, "objects/*/*"))
	if err != nil || len(objects) < 5 {
		t.Fatal(objects, err)
	}
	// Another file in its place: the kernel lets nobody write to one with fs-verity.
	replace := func(name string, change func([]byte) []byte) error {
		b, err := os.ReadFile(name)
		return errors.Join(err, os.Remove(name), os.WriteFile(name, change(b), 0o444))
	}
	for _, damage := range []func(string) error{
		os.Remove,
		func(name string) error { return replace(name, func(b []byte) []byte { return b[:1] }) },
		func(name string) error {
			return replace(name, func(b []byte) []byte {
				b[len(b)/2] ^= 1
				return b
			})
		},
	} {
		for _, object := range objects {
			if err := damage(object); err != nil {
				t.Fatal(err)
			}
			if _, err := pull(t, r, open(t, "oci:"+image), ocistore.Options{Tag: "t"}); err != nil {
				t.Fatal(err)
			}
			if got := snapshot(t, dir); got != want {
				t.Fatalf("after damage to %s the repository isn't as it was", object)
			}
		}
	}
}

// A layer that isn't what it should be leaves no name, not even of what came before it in
// the same layer.
func TestAWrongLayerIsNotStored(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	var mismatch *oci.MismatchError
	_, err := pull(t, r, open(t, "oci:"+layouts+"wrong-diff-id"), ocistore.Options{Tag: "t"})
	if !errors.As(err, &mismatch) || mismatch.Quality != "diff_id" {
		t.Fatalf("want a mismatch of the diff_id, found %v", err)
	}
	if objects, _ := filepath.Glob(filepath.Join(dir, "objects/*/*")); len(objects) > 0 {
		t.Errorf("found %v", objects)
	}
	if _, err := os.Lstat(filepath.Join(dir, "streams")); err == nil {
		t.Error("there are streams")
	}
}

// cfsctl stores layers of local layouts without comparing them with their diff_ids. Such a
// layer isn't believed.
func TestAStoredLayerWithAWrongNameIsReplaced(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	if _, err := pull(t, r, open(t, "oci:"+layouts+"basic-plain"), ocistore.Options{Tag: "t"}); err != nil {
		t.Fatal(err)
	}
	other := open(t, "oci:"+layouts+"bootable")
	layers, err := filepath.Glob(filepath.Join(dir, "streams/oci-layer-*"))
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	target, err := os.Readlink(layers[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "streams/oci-layer-"+other.Layers[0].DiffID)); err != nil {
		t.Fatal(err)
	}
	done, err := pull(t, r, other, ocistore.Options{Tag: "other"})
	if err != nil || done.Replaced != 1 || done.Stored != 0 {
		t.Fatalf("found %+v, %v", done, err)
	}
	want := "6356ef2682c40fb65adb0d4eed07a2d203a404f7b5b9a39ef551bec9e3769399"
	if got := done.Images[0].Digest.Hex(); got != want {
		t.Errorf("want the image %s, found %s", want, got)
	}
}

// An interrupted pull leaves the layers that it had, and the next one needs only the rest.
func TestAPullGoesOnWhereItWasInterrupted(t *testing.T) {
	r, _ := newRepo(t, sha256V1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := ocistore.Options{Tag: "t", Layer: func(l oci.Layer, _ bool) {
		if l.Number == 3 {
			cancel()
		}
	}}
	if _, err := ocistore.Pull(ctx, r, open(t, "oci:"+layouts+"whiteouts"), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("want it interrupted, found %v", err)
	}
	if tags, err := ocistore.List(r); err != nil || len(tags) > 0 {
		t.Errorf("found tags %v, %v", tags, err)
	}
	done, err := pull(t, r, open(t, "oci:"+layouts+"whiteouts"), ocistore.Options{Tag: "t"})
	if err != nil || done.Stored != 2 || done.Layers != 3 {
		t.Errorf("found %+v, %v", done, err)
	}
}

func TestTagsAreCheckedSetAndRemoved(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	for _, tag := range []string{"", ".", "..", "@sha256:00", "sha256:" + strings.Repeat("0", 64), "a\x00b", strings.Repeat("n", 256), strings.Repeat("/", 86)} {
		if _, err := pull(t, r, open(t, "oci:"+layouts+"basic-gzip"), ocistore.Options{Tag: tag}); tag != "" && !errors.Is(err, ocistore.ErrTag) {
			t.Errorf("%q: want %v, found %v", tag, ocistore.ErrTag, err)
		}
	}
	done, err := pull(t, r, open(t, "oci:"+layouts+"basic-gzip"), ocistore.Options{Tag: "quay.io/a/b:c%d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "streams/refs/oci/quay.io%2Fa%2Fb:c%25d")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{done.Manifest, "@" + done.Manifest, "quay.io/a/b:c%d"} {
		if err := ocistore.Tag(r, name, "second"); err != nil {
			t.Error(err)
		}
	}
	if err := ocistore.Tag(r, strings.Replace(done.Manifest, "sha256:", "sha256:0", 1)[:71], "third"); !errors.Is(err, ocistore.ErrNoTag) {
		t.Errorf("want %v, found %v", ocistore.ErrNoTag, err)
	}
	tags, err := ocistore.List(r)
	if err != nil || len(tags) != 2 || tags[0].Tag != "quay.io/a/b:c%d" || tags[1].Tag != "second" || tags[1].Image.Digest != done.Manifest || tags[1].Image.Platform != "linux/amd64" {
		t.Errorf("found %+v, %v", tags, err)
	}
	if err := ocistore.Untag(r, "second"); err != nil {
		t.Error(err)
	}
	if err := ocistore.Untag(r, "second"); !errors.Is(err, ocistore.ErrNoTag) {
		t.Errorf("want %v, found %v", ocistore.ErrNoTag, err)
	}
}

// A tag of another program that leads nowhere is told, and the other tags with it.
func TestATagThatLeadsNowhereIsListedAsSuch(t *testing.T) {
	r, dir := newRepo(t, sha256V1)
	if _, err := pull(t, r, open(t, "oci:"+layouts+"basic-gzip"), ocistore.Options{Tag: "good"}); err != nil {
		t.Fatal(err)
	}
	for tag, target := range map[string]string{
		"dangling": "../../oci-manifest-sha256:" + strings.Repeat("0", 64),
		"layer":    "../../oci-layer-sha256:" + strings.Repeat("0", 64),
		"absolute": "/etc/passwd",
		"bad%zz":   "../../x",
	} {
		if err := os.Symlink(target, filepath.Join(dir, "streams/refs/oci", tag)); err != nil {
			t.Fatal(err)
		}
	}
	tags, err := ocistore.List(r)
	if err != nil || len(tags) != 5 {
		t.Fatalf("found %v, %v", tags, err)
	}
	for _, tag := range tags {
		if (tag.Err == nil) != (tag.Tag == "good") {
			t.Errorf("%s: %v", tag.Tag, tag.Err)
		}
	}
}

// The same image from a docker archive has the same layers and images, and always the same
// manifest.
func TestAnImageWithoutManifestGetsOne(t *testing.T) {
	r, _ := newRepo(t, sha256V1)
	layout := open(t, "oci:"+layouts+"basic-plain")
	first, err := pull(t, r, layout, ocistore.Options{Tag: "layout"})
	if err != nil {
		t.Fatal(err)
	}
	layout.Manifest, layout.Digest = nil, ""
	second, err := pull(t, r, layout, ocistore.Options{Tag: "archive"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first.Images, second.Images) || first.Config != second.Config || second.Stored != 1 {
		t.Errorf("found %+v after %+v", second, first)
	}
	i, err := ocistore.Find(r, "archive")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{`; !strings.HasPrefix(string(i.Manifest), want) {
		t.Errorf("found %s", i.Manifest)
	}
}

// snapshot describes all files below a directory.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var text []byte
		if e.Type() == fs.ModeSymlink {
			target, linkErr := os.Readlink(name)
			text, err = []byte(target), linkErr
		} else {
			text, err = os.ReadFile(name)
		}
		fmt.Fprintf(&b, "%s %v %x\n", strings.TrimPrefix(name, dir), e.Type(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
