package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/composefs-go/composefs/internal/oci"
)

func destination(t *testing.T, ref string) oci.Destination {
	t.Helper()
	r := must[oci.Reference](t)(oci.ParseReference(ref))
	d := must[oci.Destination](t)(oci.Create(t.Context(), r, oci.Options{}))
	t.Cleanup(func() { d.Close() })
	return d
}

func blob(media types.MediaType, content []byte) oci.Blob {
	return oci.Blob{MediaType: media, Digest: oci.Digest(sum(content)), Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// put puts an image to a destination, and returns how many blobs weren't there.
func put(t *testing.T, d oci.Destination, image v1.Image) (stored int) {
	t.Helper()
	count := func(was bool, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if was {
			stored++
		}
	}
	for _, l := range must[[]v1.Layer](t)(image.Layers()) {
		r := must[io.ReadCloser](t)(l.Compressed())
		count(d.PutBlob(t.Context(), blob(types.DockerLayer, must[[]byte](t)(io.ReadAll(r)))))
	}
	count(d.PutBlob(t.Context(), blob(types.DockerConfigJSON, must[[]byte](t)(image.RawConfigFile()))))
	m := oci.Manifest{MediaType: types.DockerManifestSchema2, Content: must[[]byte](t)(image.RawManifest()), Platform: "linux/amd64"}
	if err := d.PutManifest(t.Context(), m, true); err != nil {
		t.Fatal(err)
	}
	return stored
}

// newRegistry returns the host of a registry, with the referrers API or without.
func newRegistry(t *testing.T, referrers bool) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestWhatIsPutCanBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, ref := range []string{"oci:" + dir + "/new", "oci:" + dir + "/new:second", "docker://" + newRegistry(t, true) + "/a/b:c", "docker://" + newRegistry(t, false) + "/a/b"} {
		image := randomImage(t, "amd64")
		if n := put(t, destination(t, ref), image); n != 4 {
			t.Errorf("%s: %d blobs weren't there", ref, n)
		}
		read := ref
		if strings.HasSuffix(ref, "/new") {
			read += "@" + must[v1.Hash](t)(image.Digest()).String()
		}
		check(t, read, oci.Options{Platform: "linux/amd64"}, image, true)
		if n := put(t, destination(t, ref), image); n != 0 {
			t.Errorf("%s: %d blobs weren't there the second time", ref, n)
		}
		check(t, read, oci.Options{}, image, true)
	}
}

// entries returns the tags in a layout, "-" for none.
func entries(t *testing.T, dir string) string {
	t.Helper()
	var index v1.IndexManifest
	if err := json.Unmarshal(must[[]byte](t)(os.ReadFile(dir+"/index.json")), &index); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range index.Manifests {
		tag := d.Annotations["org.opencontainers.image.ref.name"]
		if tag == "" {
			tag = "-" + d.ArtifactType
		}
		all = append(all, tag)
	}
	return strings.Join(all, " ")
}

func TestATagInALayoutMovesAndOthersStay(t *testing.T) {
	dir := t.TempDir() + "/layout"
	a, b := randomImage(t, "amd64"), randomImage(t, "amd64")
	put(t, destination(t, "oci:"+dir+":one"), a)
	put(t, destination(t, "oci:"+dir+":two"), a)
	put(t, destination(t, "oci:"+dir), a)
	put(t, destination(t, "oci:"+dir+":one"), b)
	put(t, destination(t, "oci:"+dir), a)
	if found := entries(t, dir); found != "two one -" {
		t.Errorf("%q", found)
	}
	check(t, "oci:"+dir+":one", oci.Options{}, b, true)
	check(t, "oci:"+dir+":two", oci.Options{}, a, true)
	// What another program wrote beside it stays as it is.
	index := must[[]byte](t)(os.ReadFile(dir + "/index.json"))
	index = bytes.Replace(index, []byte(`"digest"`), []byte(`"urls":["x"],"digest"`), 1)
	if err := os.WriteFile(dir+"/index.json", index, 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, destination(t, "oci:"+dir+":three"), b)
	if now := must[[]byte](t)(os.ReadFile(dir + "/index.json")); !bytes.Contains(now, []byte(`"urls":["x"]`)) {
		t.Errorf("%s", now)
	}
}

func TestADamagedBlobInALayoutIsReplaced(t *testing.T) {
	dir := t.TempDir() + "/layout"
	image := randomImage(t, "amd64")
	put(t, destination(t, "oci:"+dir+":one"), image)
	names := must[[]string](t)(filepath.Glob(dir + "/blobs/sha256/*"))
	for _, name := range names {
		content := must[[]byte](t)(os.ReadFile(name))
		content[len(content)/2] ^= 1
		if err := errors.Join(os.Remove(name), os.WriteFile(name, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if n := put(t, destination(t, "oci:"+dir+":one"), image); n != 4 {
		t.Errorf("%d replaced", n)
	}
	check(t, "oci:"+dir+":one", oci.Options{}, image, true)
}

// artifact is a manifest that refers to an image.
func artifact(t *testing.T, image v1.Image) oci.Manifest {
	t.Helper()
	d := must[v1.Hash](t)(image.Digest())
	size := must[int64](t)(image.Size())
	empty := oci.Digest(sum([]byte("{}")))
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x.test","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/x","digest":%q,"size":2,"annotations":{"name":"x"}}],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		types.OCIManifestSchema1, empty, empty, types.DockerManifestSchema2, d, size)
	return oci.Manifest{MediaType: types.OCIManifestSchema1, Content: []byte(text), ArtifactType: "application/x.test"}
}

// listed checks that an artifact is found by what it refers to.
func listed(t *testing.T, ref string, m oci.Manifest) {
	t.Helper()
	i := must[*oci.Image](t)(oci.Open(t.Context(), must[oci.Reference](t)(oci.ParseReference(ref)), oci.Options{}))
	defer i.Close()
	all := must[[]oci.Artifact](t)(i.Artifacts(t.Context(), "application/x.test"))
	if len(all) != 1 || all[0].Digest != m.Digest() || len(all[0].Parts) != 1 || all[0].Parts[0].Annotations["name"] != "x" {
		t.Fatalf("%s: %+v", ref, all)
	}
	r := must[io.ReadCloser](t)(all[0].Parts[0].Open(t.Context()))
	defer r.Close()
	if b := must[[]byte](t)(io.ReadAll(r)); string(b) != "{}" {
		t.Errorf("%s: %q", ref, b)
	}
	if none := must[[]oci.Artifact](t)(i.Artifacts(t.Context(), "application/x.other")); len(none) > 0 {
		t.Errorf("%s: %+v", ref, none)
	}
}

func TestWhatRefersToAnImageIsListed(t *testing.T) {
	image := randomImage(t, "amd64")
	m := artifact(t, image)
	putBoth := func(ref string) {
		t.Helper()
		d := destination(t, ref)
		put(t, d, image)
		must[bool](t)(d.PutBlob(t.Context(), blob("application/vnd.oci.empty.v1+json", []byte("{}"))))
		if err := d.PutManifest(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
		check(t, ref, oci.Options{}, image, true)
	}
	dir := t.TempDir() + "/layout"
	putBoth("oci:" + dir + ":one")
	if found := entries(t, dir); found != "one -application/x.test" {
		t.Errorf("%q", found)
	}
	listed(t, "oci:"+dir+":one", m)
	for _, api := range []bool{true, false} {
		host := newRegistry(t, api)
		putBoth("docker://" + host + "/os:one")
		subject := must[name.Digest](t)(name.NewDigest(host + "/os@" + must[v1.Hash](t)(image.Digest()).String()))
		listed(t, "docker://"+host+"/os:one", m)
		index := must[v1.ImageIndex](t)(remote.Referrers(subject))
		all := must[*v1.IndexManifest](t)(index.IndexManifest())
		if len(all.Manifests) != 1 || all.Manifests[0].Digest.String() != m.Digest() {
			t.Errorf("referrers API %v: %+v", api, all.Manifests)
		}
	}
}

func TestWhereNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/other", 0o755), os.WriteFile(dir+"/other/file", nil, 0o644), os.WriteFile(dir+"/file", nil, 0o644),
		os.Mkdir(dir+"/linked", 0o755), os.Symlink(dir, dir+"/linked/blobs"), os.WriteFile(dir+"/linked/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, want := range map[string]string{
		"oci:" + dir + "/other:x":          "want an OCI layout or an empty directory, found files and no oci-layout",
		"oci:" + dir + "/file:x":           "not a directory",
		"oci:" + dir + "/no/parent:x":      "no such file or directory",
		"oci:" + dir + "/linked:x":         "blobs",
		"oci:" + dir + "/x" + digest:       "want no digest",
		"docker://localhost/x" + digest:    "want no digest",
		"oci-archive:" + dir + "/x":        "want oci:DIR",
		"docker-archive:" + dir + "/x:y:z": "want oci:DIR",
	} {
		r := must[oci.Reference](t)(oci.ParseReference(ref))
		if d, err := oci.Create(t.Context(), r, oci.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", ref, d, err)
		}
	}
	if _, err := os.Lstat(dir + "/x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestABlobThatIsntWhatItsNameSaysIsNotPut(t *testing.T) {
	dir := t.TempDir() + "/layout"
	d := destination(t, "oci:"+dir+":one")
	b := blob(types.DockerLayer, []byte("content"))
	b.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("contend")), nil }
	if _, err := d.PutBlob(t.Context(), b); !errors.Is(err, oci.ErrImage) {
		t.Error(err)
	}
	if names := must[[]string](t)(filepath.Glob(dir + "/blobs/sha256/*")); len(names) > 0 {
		t.Error(names)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	for _, d := range []oci.Destination{d, destination(t, "docker://"+newRegistry(t, true)+"/a")} {
		if _, err := d.PutBlob(ctx, blob(types.DockerLayer, []byte("x"))); !errors.Is(err, stopped) {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func TestARegistryThatRefusesIsNamed(t *testing.T) {
	refuse := false
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse && r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	ref := "docker://" + strings.TrimPrefix(server.URL, "http://") + "/a:b"
	d := destination(t, ref)
	refuse = true
	_, err := d.PutBlob(t.Context(), blob(types.DockerLayer, []byte("x")))
	if !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), ref) {
		t.Error(err)
	}
	if err := d.PutManifest(t.Context(), oci.Manifest{MediaType: types.OCIManifestSchema1, Content: []byte("{}")}, true); !errors.Is(err, oci.ErrDenied) {
		t.Error(err)
	}
	r := must[oci.Reference](t)(oci.ParseReference(ref))
	if _, err := oci.Create(t.Context(), r, oci.Options{}); !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), ref) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := oci.Create(ctx, r, oci.Options{}); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

// A part of a layer is read where that is possible; otherwise the error says so.
func TestPartsOfLayers(t *testing.T) {
	image := randomImage(t, "amd64")
	content := must[[]byte](t)(io.ReadAll(must[io.ReadCloser](t)(must[[]v1.Layer](t)(image.Layers())[0].Compressed())))
	serve := func(change func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
		inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Range") != "" {
				change(w, r, inner)
				return
			}
			inner.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		return "docker://" + strings.TrimPrefix(server.URL, "http://") + "/os:one"
	}
	ranges := serve(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	other := serve(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		r.Header.Set("Range", "bytes=0-9")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	whole := serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
	refused := serve(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusForbidden) })
	private := serve(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://192.168.1.1/x", http.StatusFound)
	})
	dir := t.TempDir() + "/layout"
	for ref, want := range map[string]string{
		"oci:" + dir + ":one": "", ranges: "", other: oci.ErrNoRanges.Error(), whole: oci.ErrNoRanges.Error(),
		refused: oci.ErrDenied.Error(), private: "which is in a private network",
	} {
		put(t, destination(t, ref), image)
		i := must[*oci.Image](t)(oci.Open(t.Context(), must[oci.Reference](t)(oci.ParseReference(ref)), oci.Options{}))
		defer i.Close()
		r, err := i.Layers[0].OpenPart(t.Context(), 100, 200)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", ref, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if b := must[[]byte](t)(io.ReadAll(r)); !bytes.Equal(b, content[100:300]) {
			t.Errorf("%s: %d other bytes", ref, len(b))
		}
		r.Close()
		size := int64(len(content))
		for _, bad := range [][2]int64{{-1, 2}, {0, 0}, {0, size + 1}, {size, 1}, {size + 1, 1}, {1, 1<<63 - 1}} {
			if _, err := i.Layers[0].OpenPart(t.Context(), bad[0], bad[1]); !errors.Is(err, oci.ErrImage) {
				t.Errorf("%s: %v: %v", ref, bad, err)
			}
		}
	}
}
