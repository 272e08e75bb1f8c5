package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

// metaVersion is the newest version of meta.json that this package knows.
const metaVersion = 1

// metaMax bounds meta.json, in bytes; written ones have about 250.
const metaMax = 64 << 10

// featureV1 says that images of format V1 are the default. It is
// read-only-compatible: who doesn't know it may read but not add images.
const featureV1 = "v1_erofs"

// ErrMeta is the cause when a meta.json can't be used.
var ErrMeta = errors.New("unusable meta.json")

// ErrNewer is the cause when a repository has what this package doesn't know.
var ErrNewer = errors.New("a newer program made it")

// Causes of a meta.json that says nothing: no program wrote that.
var (
	errGarbled = errors.New("it stops being JSON")
	errEmpty   = errors.New("it is empty")
)

// Meta describes a repository. It is fixed when the repository is made.
type Meta struct {
	Algorithm verity.Algorithm
	Format    erofs.Format   // of the images that are made by default
	Extra     []erofs.Format // further formats that each image is made in
}

// metaFile is the text of meta.json; the fields stand in the order of the file.
type metaFile struct {
	Version   int         `json:"version"`
	Algorithm string      `json:"algorithm"`
	Features  featureSets `json:"features"`
	Formats   *formats    `json:"erofs_formats,omitempty"`
}

type featureSets struct {
	Compatible         []string `json:"compatible"`
	ReadOnlyCompatible []string `json:"read-only-compatible"`
	Incompatible       []string `json:"incompatible"`
}

type formats struct {
	Default erofs.Format   `json:"default"`
	Extra   []erofs.Format `json:"extra,omitempty"`
}

// ParseMeta reads the text of a meta.json.
func ParseMeta(text []byte) (Meta, error) {
	var file metaFile
	if err := json.Unmarshal(text, &file); err != nil {
		var syntax *json.SyntaxError
		if len(text) == 0 {
			return Meta{}, fmt.Errorf("%w: %w", ErrMeta, errEmpty)
		}
		if errors.As(err, &syntax) {
			return Meta{}, fmt.Errorf("%w: %w at byte %d of %d", ErrMeta, errGarbled, syntax.Offset, len(text))
		}
		return Meta{}, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	if file.Version > metaVersion || file.Version < 1 {
		return Meta{}, fmt.Errorf("%w: want version %d, found %d: %w", ErrMeta, metaVersion, file.Version, ErrNewer)
	}
	if len(file.Features.Incompatible) > 0 {
		return Meta{}, fmt.Errorf("%w: features %q: %w", ErrMeta, file.Features.Incompatible, ErrNewer)
	}
	for _, f := range file.Features.ReadOnlyCompatible {
		if f != featureV1 {
			return Meta{}, fmt.Errorf("%w: feature %q: %w", ErrMeta, f, ErrNewer)
		}
	}
	alg, err := verity.ParseAlgorithm(file.Algorithm)
	if err != nil {
		return Meta{}, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	m := Meta{Algorithm: alg, Format: erofs.V2}
	switch {
	case file.Formats != nil && !(file.Formats.Default == erofs.V2 && len(file.Formats.Extra) == 0):
		m.Format, m.Extra = file.Formats.Default, file.Formats.Extra
	case slices.Contains(file.Features.ReadOnlyCompatible, featureV1):
		m.Format = erofs.V1
	}
	return m, m.check()
}

// Formats returns the formats that each image is made in, the default first.
func (m Meta) Formats() []erofs.Format {
	formats := []erofs.Format{m.Format}
	for _, f := range m.Extra {
		if !slices.Contains(formats, f) {
			formats = append(formats, f)
		}
	}
	return formats
}

func (m Meta) check() error {
	for _, f := range m.Formats() {
		if !f.Valid() {
			return fmt.Errorf("%w: want image format 0, 1 or 2, found %d", ErrMeta, uint32(f))
		}
	}
	if !m.Algorithm.Valid() {
		return fmt.Errorf("%w: %w", ErrMeta, verity.ErrAlgorithm)
	}
	return nil
}

// Text returns the text of a meta.json for m, as composefs-rs writes it.
func (m Meta) Text() []byte {
	readOnly := []string{}
	if m.Format == erofs.V1 {
		readOnly = append(readOnly, featureV1)
	}
	text, err := json.MarshalIndent(metaFile{
		Version:   metaVersion,
		Algorithm: m.Algorithm.String(),
		Features:  featureSets{[]string{}, readOnly, []string{}},
		Formats:   &formats{m.Format, m.Extra},
	}, "", "  ")
	if err != nil {
		return nil // no value of these types fails
	}
	return append(text, '\n')
}

func (m Meta) equal(o Meta) bool {
	return m.Algorithm == o.Algorithm && m.Format == o.Format && slices.Equal(m.Extra, o.Extra)
}

func (m Meta) String() string {
	return fmt.Sprintf("%s, image format V%d", m.Algorithm, uint32(m.Format))
}
