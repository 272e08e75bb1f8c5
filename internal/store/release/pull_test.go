package release_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/oci/chunked"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func key(t testing.TB) sign.PrivateKey {
	t.Helper()
	k, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func trusting(keys ...sign.PrivateKey) sign.Policy {
	p := sign.Policy{Need: sign.Require}
	for _, k := range keys {
		p.Keys = append(p.Keys, k.Public("test"))
	}
	return p
}

// files are the contents of a tree.
type files map[string][]byte

// contents returns files with random content; the ones in changed have other content.
func contents(n int, changed ...int) files {
	all := files{}
	for i := range n {
		seed := [32]byte{byte(i), byte(i >> 8)}
		for _, c := range changed {
			if i == c {
				seed[31] = 1
			}
		}
		random := rand.NewChaCha8(seed)
		b := make([]byte, 100+random.Uint64()%20_000)
		random.Read(b)
		all[fmt.Sprintf("usr/file-%03d", i)] = b
	}
	return all
}

// build stores the image of a tree and seals it.
func build(t testing.TB, r *repo.Repo, all files, sequence uint64, keys ...sign.PrivateKey) verity.Digest {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o755})
	for i := range len(all) {
		name := fmt.Sprintf("usr/file-%03d", i)
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(all[name])), Mode: 0o644})
		w.Write(all[name])
	}
	w.Close()
	stage, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Abort()
	builder := tarball.NewBuilder(tarball.Options{Sink: stage})
	if err := builder.Apply(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	d, size, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, builder.Tree(), erofs.V1) })
	if err := errors.Join(err, stage.Commit(), r.AddImage(d)); err != nil {
		t.Fatal(err)
	}
	seal(t, r, d, uint64(size), sequence, keys...)
	return d
}

func seal(t testing.TB, r *repo.Repo, d verity.Digest, size, sequence uint64, keys ...sign.PrivateKey) {
	t.Helper()
	text, err := sign.NewSeal(sign.Statement{Digest: d, Size: size, Sequence: sequence})
	if err != nil {
		t.Fatal(err)
	}
	var all []sign.Signature
	for _, k := range keys {
		s, err := sign.Sign(text, k)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := r.AddSignatures(text, all, trusting(keys...).Keys); err != nil {
		t.Fatal(err)
	}
}

// publish pushes an image as a release.
func publish(t testing.TB, r *repo.Repo, d verity.Digest, ref string) release.Pushed {
	t.Helper()
	return publishAs(t, r, d, d, ref)
}

// publishAs pushes the files of an image, with the seal of another one.
func publishAs(t testing.TB, r *repo.Repo, files, sealed verity.Digest, ref string) release.Pushed {
	t.Helper()
	i, _, err := release.FromImage(r, files, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	to := destination(t, ref)
	pushed, err := release.Push(t.Context(), i, to, release.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := release.PushSeal(t.Context(), r, release.Composefs{Digest: sealed, Format: erofs.V1, Bootable: true}, pushed, to); err != nil {
		t.Fatal(err)
	}
	return pushed
}

// take finds the image of a release, and pulls it.
func take(t testing.TB, r *repo.Repo, i *oci.Image, policy sign.Policy) (*release.Sealed, release.Pulled, []error, error) {
	t.Helper()
	s, err := release.Find(t.Context(), i, release.Wanted{Policy: policy, Algorithm: r.Meta().Algorithm, Bootable: true})
	if err != nil {
		return nil, release.Pulled{}, nil, err
	}
	var whole []error
	done, err := s.Pull(t.Context(), r, release.PullOptions{Whole: func(err error) { whole = append(whole, err) }})
	if err == nil {
		err = r.AddSignatures(s.Seal, s.Signatures, policy.Keys)
	}
	return s, done, whole, err
}

// complete checks that an image has all its objects, and is ours.
func complete(t testing.TB, r *repo.Repo, d verity.Digest, policy sign.Policy) {
	t.Helper()
	v, err := r.Verify(d, policy, repo.AnyContent)
	if err != nil {
		t.Error(err)
		return
	}
	v.Close()
	i, _, err := release.FromImage(r, d, "linux/amd64")
	if err == nil {
		err = i.Layers[0].Write(t.Context(), io.Discard) // which reads and hashes all of them
	}
	if err != nil {
		t.Error(err)
	}
}

// server is a registry that counts, and may change, requests for parts of blobs.
func server(t testing.TB, ranges bool) (host string) {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(ranges))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ranges {
			r.Header.Del("Range")
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return "docker://" + strings.TrimPrefix(s.URL, "http://")
}

func TestAReleaseIsTakenFromAnywhere(t *testing.T) {
	ours := key(t)
	for _, meta := range []repo.Meta{sha256V1, {Algorithm: verity.SHA512, Format: erofs.V1}} {
		r, _ := newRepo(t, meta)
		d := build(t, r, contents(200), 3, ours)
		for ref, ranges := range map[string]bool{"oci:" + t.TempDir() + "/layout:os": true, server(t, true) + "/os:stable": true, server(t, false) + "/os": false} {
			publish(t, r, d, ref)
			other, _ := newRepo(t, meta)
			s, done, whole, err := take(t, other, open(t, ref), trusting(ours))
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			if s.Digest != d || s.Verdict.Statement.Sequence != 3 || done.Objects != 201 || done.Stats.Stored != 201 || (len(whole) == 0) != ranges {
				t.Errorf("%s: %+v %+v %v", ref, s.Verdict, done, whole)
			}
			if !ranges && !errors.Is(whole[0], oci.ErrNoRanges) {
				t.Error(whole)
			}
			complete(t, other, d, trusting(ours))
			_, again, whole, err := take(t, other, open(t, ref), trusting(ours))
			if err != nil || again.Moved != 0 || again.Stats.Present != 201 || len(whole) > 0 {
				t.Errorf("%s: again: %+v %v: %v", ref, again, whole, err)
			}
		}
	}
}

func TestAnUpdateMovesWhatHasChanged(t *testing.T) {
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	first, second := build(t, r, contents(1000), 1, ours), build(t, r, contents(1000, 17, 500, 501, 999), 2, ours)
	host := server(t, true)
	other, _ := newRepo(t, sha256V1)
	for n, d := range []verity.Digest{first, second} {
		ref := fmt.Sprintf("%s/os:%d", host, n)
		publish(t, r, d, ref)
		_, done, _, err := take(t, other, open(t, ref), trusting(ours))
		if err != nil {
			t.Fatal(err)
		}
		complete(t, other, d, trusting(ours))
		if n == 1 && (done.Stats.Stored != 5 || done.Moved > done.Size/20 || done.Requests > 4) {
			t.Errorf("moved %d of %d bytes: %+v", done.Moved, done.Size, done)
		}
	}
}

func TestOnlyWhatAKeyHasSealedIsTaken(t *testing.T) {
	ours, theirs := key(t), key(t)
	r, _ := newRepo(t, sha256V1)
	d := build(t, r, contents(5), 4, theirs)
	ref := "oci:" + t.TempDir() + "/layout:os"
	publish(t, r, d, ref)
	other, dir := newRepo(t, sha256V1)
	before := snapshot(t, dir)
	if _, _, _, err := take(t, other, open(t, ref), trusting(ours)); !errors.Is(err, sign.ErrUnknownKey) {
		t.Error(err)
	}
	// The highest sequence that one of our keys has signed counts.
	for _, sequence := range []uint64{7, 6} {
		seal(t, r, d, 0, sequence, ours)
		publish(t, r, d, ref)
	}
	seal(t, r, d, 0, 9, theirs)
	publish(t, r, d, ref)
	policy := trusting(ours)
	policy.MinimumSequence = 8
	if _, _, _, err := take(t, other, open(t, ref), policy); !errors.Is(err, sign.ErrTooOld) {
		t.Error(err)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("a refused release leaves:\n%s", after)
	}
	s, _, _, err := take(t, other, open(t, ref), trusting(ours))
	if err != nil || s.Verdict.Statement.Sequence != 7 || len(s.Signatures) != 1 {
		t.Error(s, err)
	}
	if _, err := release.Find(t.Context(), open(t, ref), release.Wanted{Policy: trusting(ours), Algorithm: verity.SHA256}); !errors.Is(err, release.ErrNoRelease) {
		t.Error(err)
	}
	if _, err := release.Find(t.Context(), open(t, ref), release.Wanted{Policy: trusting(ours), Algorithm: verity.SHA512, Bootable: true}); !errors.Is(err, release.ErrNoRelease) {
		t.Error(err)
	}
	if _, err := release.Find(t.Context(), open(t, "oci:"+layouts+"basic-gzip"), release.Wanted{Policy: trusting(ours), Algorithm: verity.SHA256, Bootable: true}); !errors.Is(err, release.ErrNoRelease) {
		t.Error(err)
	}
}

// A table of contents that lies costs time, and nothing else.
func TestATableThatLiesIsFoundOut(t *testing.T) {
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	good := build(t, r, contents(50), 1, ours)
	ref := "oci:" + t.TempDir() + "/layout:os"
	publish(t, r, good, ref)
	const position = "io.github.containers.zstd-chunked.manifest-position"
	for name, change := range map[string]func(l *oci.Layer){
		"none":            func(l *oci.Layer) { l.Annotations = nil },
		"no numbers":      func(l *oci.Layer) { l.Annotations[position] = "x" },
		"another place":   func(l *oci.Layer) { l.Annotations[position] = "10:200:1000:1" },
		"after the layer": func(l *oci.Layer) { l.Annotations[position] = fmt.Sprintf("%d:200:1000:1", l.Size-100) },
	} {
		i := open(t, ref)
		change(&i.Layers[0])
		other, _ := newRepo(t, sha256V1)
		_, done, whole, err := take(t, other, i, trusting(ours))
		if err != nil || len(whole) != 1 || done.Whole != 1 {
			t.Errorf("%s: %+v %v: %v", name, done, whole, err)
			continue
		}
		complete(t, other, good, trusting(ours))
	}
	// One file is said to be where another one is, and the content of a third can't be unpacked.
	i := open(t, lie(t, r, good, func(entries []map[string]any) {
		for _, key := range []string{"offset", "endOffset"} {
			entries[2][key], entries[3][key] = entries[3][key], entries[2][key]
		}
		entries[4]["offset"] = entries[4]["offset"].(float64) + 1
	}))
	other, _ := newRepo(t, sha256V1)
	_, done, whole, err := take(t, other, i, trusting(ours))
	if err != nil || len(whole) != 1 || !errors.Is(whole[0], chunked.ErrTable) || done.Whole != 1 {
		t.Errorf("%+v %v: %v", done, whole, err)
	}
	complete(t, other, good, trusting(ours))
}

// lie publishes an image with a changed table of contents.
func lie(t testing.TB, r *repo.Repo, d verity.Digest, change func([]map[string]any)) (ref string) {
	t.Helper()
	i, _, err := release.FromImage(r, d, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	var archive, layer bytes.Buffer
	if err := i.Layers[0].Write(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	packed, err := chunked.Write(&layer, &archive)
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := chunked.ParsePosition(packed.Annotations, int64(layer.Len()))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(layer.Bytes()[at.Offset : at.Offset+at.Length]))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var table struct {
		Version int              `json:"version"`
		Entries []map[string]any `json:"entries"`
	}
	if err := json.NewDecoder(z).Decode(&table); err != nil {
		t.Fatal(err)
	}
	change(table.Entries)
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := w.EncodeAll(text, nil)
	layer.WriteString("\x50\x2a\x4d\x18")
	layer.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(frame))))
	position := fmt.Sprintf("%d:%d:%d:1", layer.Len(), len(frame), len(text))
	layer.Write(frame)
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, packed.DiffID)
	ref = "oci:" + t.TempDir() + "/layout:os"
	to := destination(t, ref)
	put := func(media string, b []byte) string {
		sum := sha256.Sum256(b)
		blob := oci.Blob{MediaType: types.MediaType(media), Digest: oci.Digest(sum[:]), Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
		if _, err := to.PutBlob(t.Context(), blob); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`"mediaType":%q,"digest":%q,"size":%d`, media, blob.Digest, blob.Size)
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{%s},"layers":[{%s,"annotations":{"io.github.containers.zstd-chunked.manifest-position":%q}}]}`,
		types.OCIManifestSchema1, put(string(types.OCIConfigJSON), []byte(config)), put(string(types.OCILayerZStd), layer.Bytes()), position)
	pushed := release.Pushed{Manifest: oci.Manifest{MediaType: types.OCIManifestSchema1, Content: []byte(manifest), Platform: "linux/amd64"}}
	if err := to.PutManifest(t.Context(), pushed.Manifest, true); err != nil {
		t.Fatal(err)
	}
	if _, err := release.PushSeal(t.Context(), r, release.Composefs{Digest: d, Format: erofs.V1, Bootable: true}, pushed, to); err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestAReleaseThatLacksFilesIsRefused(t *testing.T) {
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	good, other := build(t, r, contents(50), 1, ours), build(t, r, contents(50, 7, 8), 1, ours)
	ref := "oci:" + t.TempDir() + "/layout:os"
	publishAs(t, r, other, good, ref)
	into, _ := newRepo(t, sha256V1)
	_, done, _, err := take(t, into, open(t, ref), trusting(ours))
	if !errors.Is(err, release.ErrIncomplete) || !strings.Contains(err.Error(), "/usr/file-007") {
		t.Error(err)
	}
	if done.Stats.Stored != 49 {
		t.Errorf("%+v", done)
	}
	if _, err := into.Resolve(good.Hex()); err == nil {
		t.Error("the image has its name")
	}
	// What was fetched needn't be fetched again.
	publish(t, r, good, ref)
	_, done, _, err = take(t, into, open(t, ref), trusting(ours))
	if err != nil || done.Stats.Stored != 2 {
		t.Errorf("%+v: %v", done, err)
	}
	complete(t, into, good, trusting(ours))
}

func TestAnImageWithoutSealIsNotPushedAsOne(t *testing.T) {
	r, _ := newRepo(t, sha256V1)
	d := build(t, r, contents(1), 1)
	_, err := release.PushSeal(t.Context(), r, release.Composefs{Digest: d, Format: erofs.V1}, release.Pushed{}, destination(t, "oci:"+t.TempDir()+"/x"))
	if !errors.Is(err, release.ErrNoSeal) {
		t.Error(err)
	}
}

func TestWhatIsLostComesBackFromARelease(t *testing.T) {
	ours := key(t)
	r, dir := newRepo(t, sha256V1)
	d := build(t, r, contents(50), 1, ours)
	ref := "oci:" + t.TempDir() + "/layout:os"
	publish(t, r, d, ref)
	objects, err := filepath.Glob(dir + "/objects/*/*")
	if err != nil || len(objects) != 51 {
		t.Fatal(objects, err)
	}
	lose := func(names ...string) map[verity.Digest]int64 {
		t.Helper()
		lost := make(map[verity.Digest]int64)
		for _, name := range names {
			object, err := verity.ParseObjectPath(strings.TrimPrefix(name, dir+"/objects/"))
			if err == nil {
				err = os.Remove(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			lost[object] = -1
		}
		return lost
	}
	image := dir + "/objects/" + d.ObjectPath()
	files := slices.DeleteFunc(slices.Clone(objects), func(name string) bool { return name == image })
	// Files are known by the names that they have in the image, so that comes first.
	lost := lose(append(files[:5:5], image)...)
	missed, err := release.Repair(t.Context(), r, open(t, ref), lost, release.PullOptions{})
	if err != nil || len(missed) != 0 {
		t.Fatal(missed, err)
	}
	complete(t, r, d, trusting(ours))
	missed, err = release.Repair(t.Context(), r, open(t, "oci:"+layouts+"basic-gzip"), lose(files[7]), release.PullOptions{})
	if err != nil || len(missed) != 1 {
		t.Error(missed, err)
	}
	for _, err := range missed {
		if !errors.Is(err, release.ErrNotThere) {
			t.Error(err)
		}
	}
}

func TestLayersThatMakeAnotherImageAreFoundOut(t *testing.T) {
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	sealed, other := build(t, r, contents(49), 1, ours), build(t, r, contents(50), 1, ours)
	for d, same := range map[verity.Digest]bool{sealed: true, other: false} {
		ref := "oci:" + t.TempDir() + "/layout:os"
		publishAs(t, r, d, sealed, ref)
		into, _ := newRepo(t, sha256V1)
		s, _, _, err := take(t, into, open(t, ref), trusting(ours))
		if err != nil {
			t.Fatal(err)
		}
		first := ""
		err = s.Check(t.Context(), into, tarball.Options{}, func(sealed, made *tree.Node) {
			for d := range treediff.Trees(sealed, made) {
				if first == "" {
					first = d.Path
				}
			}
		})
		if same && (err != nil || first != "") || !same && (!errors.Is(err, release.ErrLayers) || first != "/usr/file-049") {
			t.Errorf("same %v: the first difference is %q: %v", same, first, err)
		}
	}
}

// An update that is killed again and again comes to its end, since objects get their names on the way.
func TestWhatWasFetchedHasItsNameBeforeTheEnd(t *testing.T) {
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	d := build(t, r, contents(4000), 1, ours) // 40 MB
	for ref, ranges := range map[string]bool{"oci:" + t.TempDir() + "/layout:os": true, server(t, false) + "/os": false} {
		publish(t, r, d, ref)
		into, dir := newRepo(t, sha256V1)
		s, err := release.Find(t.Context(), open(t, ref), release.Wanted{Policy: trusting(ours), Algorithm: verity.SHA256, Bootable: true})
		if err != nil {
			t.Fatal(err)
		}
		var fetched atomic.Int64
		named := 0
		if _, err := s.Pull(t.Context(), into, release.PullOptions{Progress: func(int64) {
			if fetched.Add(1) == 3900 {
				objects, _ := filepath.Glob(dir + "/objects/*/*")
				named = len(objects)
			}
		}}); err != nil {
			t.Fatal(err)
		}
		if named < 1000 || named > 3900 {
			t.Errorf("ranges %v: %d objects have their names when 3900 are fetched", ranges, named)
		}
	}
}
