package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
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
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/oci"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// randomImage is an image for a platform, made by the library whose registry and archives
// these tests read.
func randomImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	i := must[v1.Image](t)(random.Image(3000, 3))
	c := must[*v1.ConfigFile](t)(i.ConfigFile())
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", arch
	return must[v1.Image](t)(mutate.ConfigFile(i, c))
}

// check reads an image and compares it with what it was made of.
func check(t *testing.T, ref string, o oci.Options, want v1.Image, manifest bool) {
	t.Helper()
	r := must[oci.Reference](t)(oci.ParseReference(ref))
	i, err := oci.Open(t.Context(), r, o)
	if err != nil {
		t.Errorf("%s: %v", ref, err)
		return
	}
	defer i.Close()
	if d := must[v1.Hash](t)(want.Digest()); manifest && i.Digest != d.String() || !manifest && i.Digest != "" {
		t.Errorf("%s: the manifest is %q, want %s", ref, i.Digest, d)
	}
	if d := must[v1.Hash](t)(want.ConfigName()); i.ConfigDigest != d.String() {
		t.Errorf("%s: the configuration is %q, want %s", ref, i.ConfigDigest, d)
	}
	layers := must[[]v1.Layer](t)(want.Layers())
	if len(i.Layers) != len(layers) {
		t.Fatalf("%s: %d layers, want %d", ref, len(i.Layers), len(layers))
	}
	for n, l := range i.Layers {
		if d := must[v1.Hash](t)(layers[n].DiffID()); l.DiffID != d.String() || l.Number != n+1 {
			t.Errorf("%s: layer %d is %s, want %s", ref, l.Number, l.DiffID, d)
		}
		b := read(t, l)
		if manifest {
			if d := must[v1.Hash](t)(layers[n].Digest()); oci.Digest(sum(b)) != d.String() || l.Digest != d.String() {
				t.Errorf("%s: layer %d has other content", ref, l.Number)
			}
		}
	}
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func read(t *testing.T, l oci.Layer) []byte {
	t.Helper()
	f := must[io.ReadCloser](t)(l.Open(t.Context()))
	defer f.Close()
	return must[[]byte](t)(io.ReadAll(f))
}

func TestAnImageIsReadFromWhateverHoldsIt(t *testing.T) {
	ours, other := randomImage(t, "amd64"), randomImage(t, "arm64")
	dir := t.TempDir()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	p := must[layout.Path](t)(layout.Write(dir+"/layout", empty.Index))
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	tag := func(s string) layout.Option {
		return layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": s})
	}
	archive := func(file string, images map[name.Tag]v1.Image) {
		f := must[*os.File](t)(os.Create(file))
		refs := map[name.Reference]v1.Image{}
		for t, i := range images {
			refs[t] = i
		}
		if err := errors.Join(tarball.MultiRefWrite(refs, f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	latest := must[name.Tag](t)(name.NewTag("example.com/a/b:latest"))
	archive(dir+"/one.tar", map[name.Tag]v1.Image{latest: ours})
	archive(dir+"/two.tar", map[name.Tag]v1.Image{latest: ours, must[name.Tag](t)(name.NewTag("localhost:5000/c:v2")): other})
	if err := errors.Join(p.AppendImage(ours, tag("one")), p.AppendIndex(index, tag("many")),
		remote.Write(must[name.Tag](t)(name.NewTag(host+"/a/b:one")), ours),
		remote.WriteIndex(must[name.Tag](t)(name.NewTag(host+"/a/b:many")), index)); err != nil {
		t.Fatal(err)
	}
	digest := must[v1.Hash](t)(ours.Digest()).String()
	for _, c := range []struct {
		ref      string
		platform string
		want     v1.Image
		manifest bool
	}{
		{"oci:" + dir + "/layout:one", "", ours, true},
		{"oci:" + dir + "/layout:many", "linux/amd64", ours, true},
		{"oci:" + dir + "/layout:many", "linux/arm64", other, true},
		{"oci:" + dir + "/layout@" + digest, "", ours, true},
		{"docker-archive:" + dir + "/one.tar", "", ours, false},
		{"docker-archive:" + dir + "/two.tar:example.com/a/b:latest", "", ours, false},
		{"docker-archive:" + dir + "/two.tar:example.com/a/b", "", ours, false},
		{"docker-archive:" + dir + "/two.tar:localhost:5000/c:v2", "", other, false},
		{"docker://" + host + "/a/b:one", "", ours, true},
		{"docker://" + host + "/a/b:many", "linux/arm64", other, true},
		{"docker://" + host + "/a/b@" + digest, "", ours, true},
	} {
		check(t, c.ref, oci.Options{Platform: c.platform}, c.want, c.manifest)
	}
	for _, ref := range []string{"docker-archive:" + dir + "/two.tar", "docker-archive:" + dir + "/two.tar:c:v2", "oci:" + dir + "/layout", "oci:" + dir + "/layout:two"} {
		var name *oci.NameError
		if _, err := oci.Open(t.Context(), must[oci.Reference](t)(oci.ParseReference(ref)), oci.Options{}); !errors.As(err, &name) || len(name.Names) != 2 {
			t.Errorf("%s: want a NameError with both names, found %v", ref, err)
		}
	}
}

func TestAReferenceIsReadAsItIsWritten(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for text, want := range map[string]oci.Reference{
		"oci:dir":                            {Transport: oci.Layout, Path: "dir"},
		"oci:/a:b/dir":                       {Transport: oci.Layout, Path: "/a:b/dir"},
		"oci:/a:b/dir:tag":                   {Transport: oci.Layout, Path: "/a:b/dir", Name: "tag"},
		"oci:dir@" + digest:                  {Transport: oci.Layout, Path: "dir", Digest: digest},
		"oci:dir:tag@" + digest:              {Transport: oci.Layout, Path: "dir", Name: "tag", Digest: digest},
		"oci:a@b":                            {Transport: oci.Layout, Path: "a@b"},
		"oci-archive:a.tar:tag":              {Transport: oci.LayoutArchive, Path: "a.tar", Name: "tag"},
		"docker-archive:a.tar":               {Transport: oci.DockerArchive, Path: "a.tar"},
		"docker-archive:a.tar:host:5000/b:c": {Transport: oci.DockerArchive, Path: "a.tar", Name: "host:5000/b:c"},
		"docker://host/a/b:tag":              {Transport: oci.Registry, Path: "host/a/b:tag"},
		"docker://host/a@" + digest:          {Transport: oci.Registry, Path: "host/a@" + digest},
	} {
		got, err := oci.ParseReference(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: found %+v, %s, %v; want %+v", text, got, got, err, want)
		}
	}
	for _, text := range []string{"", "dir", "oci:", "oci::tag", "oci:a:", "oci:a@sha256:12", "docker://", "docker://A b", "docker-archive::x", "tar:x"} {
		var syntax *oci.SyntaxError
		if r, err := oci.ParseReference(text); !errors.As(err, &syntax) {
			t.Errorf("%q: want a SyntaxError, found %+v, %v", text, r, err)
		}
	}
}

// A hostile is an image in a layout in which something was changed.
func TestWhatIsNotWhatItsNameSaysIsRefused(t *testing.T) {
	blob := func(h v1.Hash) string { return "blobs/sha256/" + h.Hex }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string, i v1.Image)
		want   error  // of Open or of reading the layers
		says   string // in it
	}{
		{"a manifest", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(must[v1.Hash](t)(i.Digest())), func(b []byte) []byte { return bytes.Replace(b, []byte("{"), []byte(" "), 1) })
		}, oci.ErrImage, "manifest: want the digest"},
		{"a longer manifest", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(must[v1.Hash](t)(i.Digest())), func(b []byte) []byte { return append(b, '\n') })
		}, oci.ErrImage, "manifest: want the size"},
		{"a huge manifest", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(must[v1.Hash](t)(i.Digest())), func([]byte) []byte { return bytes.Repeat([]byte(" "), oci.MaxDocument+1) })
		}, oci.ErrLimit, "manifest: at most"},
		{"a huge index", func(t *testing.T, dir string, _ v1.Image) {
			edit(t, dir, "index.json", func([]byte) []byte { return bytes.Repeat([]byte(" "), oci.MaxDocument+1) })
		}, oci.ErrLimit, "index.json: at most"},
		{"a configuration", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(must[v1.Hash](t)(i.ConfigName())), func(b []byte) []byte { return bytes.Replace(b, []byte("linux"), []byte("Linux"), 1) })
		}, oci.ErrImage, "configuration: want the digest"},
		{"a layer", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(layerDigest(t, i, 1)), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}, oci.ErrImage, "layer 2: want the digest"},
		{"a shorter layer", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(layerDigest(t, i, 1)), func(b []byte) []byte { return b[:len(b)-1] })
		}, oci.ErrImage, "layer 2: want the size"},
		{"a longer layer", func(t *testing.T, dir string, i v1.Image) {
			edit(t, dir, blob(layerDigest(t, i, 1)), func(b []byte) []byte { return append(b, 0) })
		}, oci.ErrImage, "layer 2: want the size"},
		{"a layer that is a directory", func(t *testing.T, dir string, i v1.Image) {
			at := filepath.Join(dir, blob(layerDigest(t, i, 0)))
			if err := errors.Join(os.Remove(at), os.Mkdir(at, 0o755)); err != nil {
				t.Fatal(err)
			}
		}, oci.ErrImage, "want a regular file, found a directory"},
		{"a layer by a link out of the layout", func(t *testing.T, dir string, i v1.Image) {
			at := filepath.Join(dir, blob(layerDigest(t, i, 0)))
			if err := errors.Join(os.Rename(at, dir+".layer"), os.Symlink(dir+".layer", at)); err != nil {
				t.Fatal(err)
			}
		}, nil, "layer 1: "},
		{"a layer that isn't there", func(t *testing.T, dir string, i v1.Image) {
			if err := os.Remove(filepath.Join(dir, blob(layerDigest(t, i, 0)))); err != nil {
				t.Fatal(err)
			}
		}, oci.ErrImage, "layer 1: want the file blobs/sha256/"},
		{"a pipe in the place of the version", func(t *testing.T, dir string, _ v1.Image) { pipe(t, filepath.Join(dir, "oci-layout")) }, oci.ErrImage, "oci-layout: want a regular file, found a pipe"},
		{"a pipe in the place of the index", func(t *testing.T, dir string, _ v1.Image) { pipe(t, filepath.Join(dir, "index.json")) }, oci.ErrImage, "index.json: want a regular file, found a pipe"},
		{"a pipe in the place of a layer", func(t *testing.T, dir string, i v1.Image) {
			pipe(t, filepath.Join(dir, blob(layerDigest(t, i, 0))))
		}, oci.ErrImage, "want a regular file, found a pipe"},
		{"an index that is cut", func(t *testing.T, dir string, _ v1.Image) {
			edit(t, dir, "index.json", func(b []byte) []byte { return b[:len(b)/2] })
		}, oci.ErrImage, "index: want JSON as the OCI image format says"},
		{"an index that might be a manifest", func(t *testing.T, dir string, _ v1.Image) {
			edit(t, dir, "index.json", func(b []byte) []byte { return bytes.Replace(b, []byte("{"), []byte(`{"layers":[],`), 1) })
		}, oci.ErrImage, `index: it has "layers" too, so that it might be read as another kind of document`},
		{"a manifest that might be an index", func(t *testing.T, dir string, i v1.Image) {
			was := must[v1.Hash](t)(i.Digest())
			b := must[[]byte](t)(os.ReadFile(filepath.Join(dir, blob(was))))
			b = bytes.Replace(b, []byte("{"), []byte(`{"Manifests":[],`), 1)
			now := fmt.Sprintf("%x", sum(b))
			if err := os.WriteFile(dir+"/blobs/sha256/"+now, b, 0o644); err != nil {
				t.Fatal(err)
			}
			edit(t, dir, "index.json", func([]byte) []byte {
				return []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"size":%d,"digest":"sha256:%s"}]}`, types.OCIManifestSchema1, len(b), now))
			})
		}, oci.ErrImage, `manifest: it has "Manifests" too`},
		{"a layout of another version", func(t *testing.T, dir string, _ v1.Image) {
			edit(t, dir, "oci-layout", func([]byte) []byte { return []byte(`{"imageLayoutVersion":"2.0.0"}`) })
		}, oci.ErrImage, `want version 1.0.0, found "2.0.0"`},
		{"an index of itself", func(t *testing.T, dir string, _ v1.Image) {
			edit(t, dir, "index.json", func([]byte) []byte { return nested(t, dir, oci.MaxDepth+1) })
		}, oci.ErrLimit, "nested more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "layout")
			i := randomImage(t, "amd64")
			p := must[layout.Path](t)(layout.Write(dir, empty.Index))
			if err := p.AppendImage(i); err != nil {
				t.Fatal(err)
			}
			c.change(t, dir, i)
			err := readAll(t.Context(), "oci:"+dir)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want %v that says %q, found %v", c.want, c.says, err)
			}
		})
	}
}

// pipe puts a pipe that no one writes to in the place of a file.
func pipe(t *testing.T, at string) {
	t.Helper()
	if err := errors.Join(os.Remove(at), unix.Mkfifo(at, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// An image that isn't for the platform that was asked for isn't taken, be there no other.
func TestTheOnlyImageMustBeForThePlatformToo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	p := must[layout.Path](t)(layout.Write(dir, empty.Index))
	if err := p.AppendImage(randomImage(t, "amd64")); err != nil {
		t.Fatal(err)
	}
	for platform, good := range map[string]bool{"": true, "linux/amd64": true, "linux/arm64": false, "windows/amd64": false} {
		i, err := oci.Open(t.Context(), must[oci.Reference](t)(oci.ParseReference("oci:"+dir)), oci.Options{Platform: platform})
		var other *oci.PlatformError
		if good != (err == nil) || !good && !errors.As(err, &other) {
			t.Errorf("%q: found %v", platform, err)
		}
		if err == nil {
			i.Close()
		}
	}
}

// Names take memory, of which a small archive mustn't ask for much.
func TestNamesInArchivesOfImagesAreShort(t *testing.T) {
	for _, h := range []tar.Header{{Name: strings.Repeat("n", 2000)}, {Name: "l", Linkname: strings.Repeat("l", 2000), Typeflag: tar.TypeSymlink}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(w.WriteHeader(&h), w.Close()); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"oci-archive:", "docker-archive:"} {
			if err := readAll(t.Context(), kind+file); !errors.Is(err, oci.ErrLimit) {
				t.Errorf("%s: want ErrLimit, found %v", kind, err)
			}
		}
	}
}

func layerDigest(t *testing.T, i v1.Image, n int) v1.Hash {
	t.Helper()
	return must[v1.Hash](t)(must[[]v1.Layer](t)(i.Layers())[n].Digest())
}

func edit(t *testing.T, dir, name string, change func([]byte) []byte) {
	t.Helper()
	at := filepath.Join(dir, name)
	b := must[[]byte](t)(os.ReadFile(at))
	if err := errors.Join(os.Chmod(at, 0o644), os.WriteFile(at, change(b), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// nested puts indexes of indexes into a layout, and returns one that is so deep.
func nested(t *testing.T, dir string, depth int) []byte {
	t.Helper()
	b := must[[]byte](t)(os.ReadFile(dir + "/index.json"))
	for range depth {
		name := fmt.Sprintf("%x", sum(b))
		if err := os.WriteFile(dir+"/blobs/sha256/"+name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		b = []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"size":%d,"digest":"sha256:%s"}]}`, types.OCIImageIndex, len(b), name))
	}
	return b
}

// readAll reads an image with all its layers.
func readAll(ctx context.Context, text string) error {
	r, err := oci.ParseReference(text)
	if err != nil {
		return err
	}
	i, err := oci.Open(ctx, r, oci.Options{Patience: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer i.Close()
	for _, l := range i.Layers {
		f, err := l.Open(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func TestOnlyArchivesOfFilesAreLayers(t *testing.T) {
	i := must[v1.Image](t)(mutate.AppendLayers(randomImage(t, "amd64"), static.NewLayer([]byte("x"), "application/vnd.oci.image.layer.v1.tar+encrypted")))
	dir := filepath.Join(t.TempDir(), "layout")
	p := must[layout.Path](t)(layout.Write(dir, empty.Index))
	if err := p.AppendImage(i); err != nil {
		t.Fatal(err)
	}
	var media *oci.TypeError
	if err := readAll(t.Context(), "oci:"+dir); !errors.As(err, &media) || media.What != "layer 4" {
		t.Errorf("found %v", err)
	}
}

// A registry that sends other bytes, or bytes without end, is found out.
func TestAHostileRegistryIsFoundOut(t *testing.T) {
	i := randomImage(t, "amd64")
	manifest := must[v1.Hash](t)(i.Digest())
	layer := layerDigest(t, i, 0)
	endless := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		b := bytes.Repeat([]byte(" "), 64<<10)
		for {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request) bool // reports whether it has answered
		says   string
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) bool { return false }, ""},
		{"a manifest without end", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				endless(w)
				return true
			}
			return false
		}, "at most 4194304 bytes"},
		{"a manifest without end, elsewhere", func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.Contains(r.URL.Path, "/manifests/"):
				http.Redirect(w, r, "/elsewhere/blobs/?digest=x", http.StatusTemporaryRedirect)
			case strings.Contains(r.URL.Path, "/elsewhere/"):
				endless(w)
			default:
				return false
			}
			return true
		}, "at most 4194304 bytes"},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}, "the server sends too slowly"},
		{"a manifest now and then", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
			return true
		}, "the server sends too slowly"},
		{"a layer without end", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, layer.Hex) {
				endless(w)
				return true
			}
			return false
		}, "layer 1"},
		{"another layer", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, layer.Hex) {
				size := must[int64](t)(must[[]v1.Layer](t)(i.Layers())[0].Size())
				_, _ = w.Write(make([]byte, size))
				return true
			}
			return false
		}, "layer 1"},
		{"a byte now and then", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, layer.Hex) {
				return false
			}
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
			return true
		}, "layer 1: the server sends too slowly"},
		{"nothing any more", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, layer.Hex) {
				return false
			}
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}, "layer 1: the server sends too slowly"},
		{"another manifest", func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
				_, _ = w.Write([]byte(`{"schemaVersion":2}`))
				return true
			}
			return false
		}, "manifest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			hostile := false
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !hostile || !c.answer(w, r) {
					inner.ServeHTTP(w, r)
				}
			}))
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			if err := remote.Write(must[name.Tag](t)(name.NewTag(host+"/a:b")), i); err != nil {
				t.Fatal(err)
			}
			hostile = true
			err := readAll(t.Context(), "docker://"+host+"/a@"+manifest.String())
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("want an error that says %q, found %v", c.says, err)
			}
		})
	}
}

// A registry may send blobs from another host, which mustn't get the password.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	i := randomImage(t, "amd64")
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var mu sync.Mutex
	var leaked string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		leaked += r.Header.Get("Authorization")
		mu.Unlock()
		inner.ServeHTTP(w, r)
	}))
	defer elsewhere.Close()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "user" || password != "secret":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
			mu.Lock()
			asked++
			mu.Unlock()
			// Another name for the same machine is another host.
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	if err := remote.Write(must[name.Tag](t)(name.NewTag(strings.TrimPrefix(elsewhere.URL, "http://")+"/a:b")), i); err != nil {
		t.Fatal(err)
	}
	leaked = ""
	auth := filepath.Join(t.TempDir(), "auth.json")
	text := must[[]byte](t)(json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": "dXNlcjpzZWNyZXQ="}}}))
	if err := os.WriteFile(auth, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	if err := readAll(t.Context(), "docker://"+host+"/a:b"); err == nil {
		t.Error("it is read without a password")
	}
	t.Setenv("REGISTRY_AUTH_FILE", auth)
	if err := readAll(t.Context(), "docker://"+host+"/a:b"); err != nil || asked < 4 {
		t.Errorf("with the password: %v after %d blobs", err, asked)
	}
	if leaked != "" {
		t.Errorf("the other host got %q", leaked)
	}
}
