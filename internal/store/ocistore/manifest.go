package ocistore

import (
	"encoding/json"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The fields stand in the order in which they are written.
type ociManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// manifest returns the image's manifest. An image from a docker archive has none, and gets
// the one that it has with its layers uncompressed.
func (p *puller) manifest() ([]byte, error) {
	if p.image.Manifest != nil {
		return p.image.Manifest, nil
	}
	m := ociManifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: descriptor{MediaType: types.OCIConfigJSON, Digest: p.image.ConfigDigest, Size: int64(len(p.image.Config))},
		Layers: []descriptor{},
	}
	for _, l := range p.layers {
		m.Layers = append(m.Layers, descriptor{MediaType: types.OCIUncompressedLayer, Digest: l.diffID, Size: l.size})
	}
	return json.Marshal(m)
}
