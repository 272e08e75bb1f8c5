package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/oci/chunked"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/ocistore"
)

// A Pushed says what Push has done.
type Pushed struct {
	Manifest oci.Manifest
	Layers   int
	Sent     int   // of the layers that weren't there
	Bytes    int64 // of these
	Plain    int   // of the layers that can't have a table of contents

	config []byte
}

// PushOptions say how an image is put somewhere.
type PushOptions struct {
	// Layer, if set, is called when a layer is begun, from several goroutines.
	Layer func(number int)
	// Progress, if set, is called with the sizes of what was read, likewise.
	Progress func(size int64)
}

// An Image is a container image to be put somewhere.
type Image struct {
	Config      []byte            // nil to make one of the layers
	Platform    string            // OS/ARCHITECTURE[/VARIANT]
	Annotations map[string]string // of the manifest
	Layers      []Archive         // lowest first
}

// An Archive is a layer.
type Archive struct {
	DiffID string // what it has to be; "" if that isn't known
	// Write writes it, possibly several times.
	Write func(context.Context, io.Writer) error
}

// Push puts an image to a destination, under the tag of that. Its layers are compressed in the
// way of zstd:chunked. A layer that isn't what its diff_id says isn't sent. Errors about layers
// are *ocistore.LayerError.
func Push(ctx context.Context, i Image, to oci.Destination, o PushOptions) (done Pushed, err error) {
	layers := make([]*packed, len(i.Layers))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n, a := range i.Layers {
		if within.Err() != nil {
			break
		}
		group.Go(func() (err error) {
			if o.Layer != nil {
				o.Layer(n + 1)
			}
			if layers[n], err = send(within, a, to, o.Progress); err != nil {
				return &ocistore.LayerError{Number: n + 1, Err: err}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return done, err
	}
	if i.Config == nil {
		if i.Config, err = newConfig(i.Platform, layers); err != nil {
			return done, err
		}
	}
	done.config = i.Config
	config := document(types.OCIConfigJSON, i.Config)
	if _, err := to.PutBlob(ctx, config); err != nil {
		return done, err
	}
	m := manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: describe(config, nil), Layers: []descriptor{}, Annotations: i.Annotations}
	done.Layers = len(layers)
	for _, l := range layers {
		m.Layers = append(m.Layers, describe(l.blob, l.annotations))
		if l.sent {
			done.Sent++
			done.Bytes += l.blob.Size
		}
		if len(l.annotations) == 0 {
			done.Plain++
		}
	}
	if done.Manifest, err = m.render(i.Platform); err != nil {
		return done, err
	}
	return done, to.PutManifest(ctx, done.Manifest, true)
}

// packed is a layer that was sent, or was there.
type packed struct {
	chunked.Layer
	blob        oci.Blob
	annotations map[string]string
	sent        bool
}

// send compresses a layer and puts it to its destination.
func send(ctx context.Context, a Archive, to oci.Destination, progress func(int64)) (*packed, error) {
	file, err := osfile.Unnamed(os.TempDir())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	l, err := a.pack(ctx, file, chunked.Write, progress)
	if errors.Is(err, chunked.ErrNoTable) {
		if err = errors.Join(file.Truncate(0), rewind(file)); err == nil {
			l, err = a.pack(ctx, file, chunked.Plain, progress)
		}
	}
	if err != nil {
		return nil, err
	}
	if a.DiffID != "" && l.DiffID != a.DiffID {
		return nil, fmt.Errorf("%w: its content has the digest %s", ocistore.ErrBroken, l.DiffID)
	}
	p := &packed{Layer: l, annotations: l.Annotations}
	if p.blob, err = fileBlob(types.OCILayerZStd, file); err != nil {
		return nil, err
	}
	p.sent, err = to.PutBlob(ctx, p.blob)
	return p, err
}

// pack passes the archive to a function that compresses it.
func (a Archive) pack(ctx context.Context, w io.Writer, write func(io.Writer, io.Reader) (chunked.Layer, error), progress func(int64)) (chunked.Layer, error) {
	from, to := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		to.CloseWithError(a.Write(ctx, told{to, progress}))
	}()
	l, err := write(w, from)
	from.Close()
	<-done
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return l, err
}

// told is a Writer that says how much was written.
type told struct {
	io.Writer
	progress func(int64)
}

func (t told) Write(p []byte) (int, error) {
	if t.progress != nil {
		t.progress(int64(len(p)))
	}
	return t.Writer.Write(p)
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// fileBlob returns a file as a blob, which can be read until the file is closed.
func fileBlob(media types.MediaType, f *os.File) (oci.Blob, error) {
	if err := rewind(f); err != nil {
		return oci.Blob{}, err
	}
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	return oci.Blob{MediaType: media, Digest: oci.Digest(hash.Sum(nil)), Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, size)), nil
	}}, err
}

// document returns some bytes as a blob.
func document(media types.MediaType, b []byte) oci.Blob {
	sum := sha256.Sum256(b)
	return oci.Blob{MediaType: media, Digest: oci.Digest(sum[:]), Size: int64(len(b)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

// A manifest has its fields in the order in which they are written.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func describe(b oci.Blob, annotations map[string]string) descriptor {
	return descriptor{b.MediaType, b.Digest, b.Size, annotations}
}

func (m manifest) render(platform string) (oci.Manifest, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > oci.MaxDocument {
		err = fmt.Errorf("%w: the manifest would have %d bytes, and at most %d are allowed", oci.ErrLimit, len(b), oci.MaxDocument)
	}
	return oci.Manifest{MediaType: m.MediaType, Content: b, ArtifactType: m.ArtifactType, Platform: platform}, err
}

// newConfig makes the configuration of an image that has none.
func newConfig(platform string, layers []*packed) ([]byte, error) {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	type rootfs struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	c := struct {
		Architecture string   `json:"architecture"`
		OS           string   `json:"os"`
		Variant      string   `json:"variant,omitempty"`
		Config       struct{} `json:"config"`
		RootFS       rootfs   `json:"rootfs"`
	}{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant, RootFS: rootfs{"layers", []string{}}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
	}
	return json.Marshal(c)
}
