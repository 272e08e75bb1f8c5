package oci_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/composefs-go/composefs/internal/oci"
)

// What is read is written as it was read.
func FuzzParseReference(f *testing.F) {
	for _, text := range []string{"oci:a:b", "oci:a@sha256:00", "docker://host/a:b", "docker-archive:a:b:c", "oci-archive:/a:b/c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := oci.ParseReference(text)
		if err != nil {
			return
		}
		if again, err := oci.ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v is written %q, and read as %+v, %v", text, r, r, again, err)
		}
	})
}

// Whatever a layout says, it is refused, or there is an image that keeps the rules.
func FuzzLayout(f *testing.F) {
	config := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + fmt.Sprintf("%064d", 1) + `"]}}`
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%064d","size":7}]}`, sum([]byte(config)), len(config), 2)
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%x","size":%d}]}`,
		sum([]byte(manifest)), len(manifest))
	f.Add(index, manifest, config)
	f.Add(`{"manifests":[]}`, "{}", "null")
	f.Add(index, `{"layers":[{}]}`, config)
	f.Fuzz(func(t *testing.T, index, manifest, config string) {
		dir := t.TempDir()
		put := func(name, content string) error { return os.WriteFile(dir+"/"+name, []byte(content), 0o644) }
		if err := errors.Join(os.MkdirAll(dir+"/blobs/sha256", 0o755), put("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), put("index.json", index),
			put(fmt.Sprintf("blobs/sha256/%x", sum([]byte(manifest))), manifest), put(fmt.Sprintf("blobs/sha256/%x", sum([]byte(config))), config)); err != nil {
			t.Fatal(err)
		}
		i, err := oci.Open(t.Context(), oci.Reference{Transport: oci.Layout, Path: dir}, oci.Options{Platform: "linux/amd64"})
		if err != nil {
			return
		}
		defer i.Close()
		if i.Digest != oci.Digest(sum([]byte(manifest))) || i.ConfigDigest != oci.Digest(sum([]byte(config))) {
			t.Errorf("it is %s with %s", i.Digest, i.ConfigDigest)
		}
		for n, l := range i.Layers {
			if l.Number != n+1 || len(l.DiffID) != len("sha256:")+64 || len(l.Digest) != len(l.DiffID) || l.Size < 0 {
				t.Errorf("layer %+v", l)
			}
		}
	})
}
