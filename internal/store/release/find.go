package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// ErrNoRelease is the cause when nothing that refers to a container image is a sealed composefs
// image of the wanted kind.
var ErrNoRelease = errors.New("it has no sealed composefs image")

// Wanted says which image of a release is wanted.
type Wanted struct {
	Policy    sign.Policy // that its seal has to fulfil
	Algorithm verity.Algorithm
	Bootable  bool
}

// A Sealed is a composefs image of a release, whose seal has been verified. Its bytes haven't.
type Sealed struct {
	Composefs
	Verdict    sign.Verdict
	Seal       sign.Seal
	Signatures []sign.Signature

	part   oci.Part
	source *oci.Image
}

// Find returns the image of a release whose seal has the highest sequence among those that the
// policy accepts. If there are only others, the error is the *sign.RefusedError of one.
func Find(ctx context.Context, i *oci.Image, w Wanted) (*Sealed, error) {
	all, err := i.Artifacts(ctx, artifactType)
	if err != nil {
		return nil, err
	}
	var best *Sealed
	var refused error
	for _, a := range all {
		s, ok := parseArtifact(a, w)
		if !ok {
			continue
		}
		if err := s.verify(ctx, a, w.Policy); err != nil {
			if !errors.Is(err, sign.ErrRefused) && !errors.Is(err, oci.ErrImage) {
				return nil, err
			}
			// One of a key that is trusted says more than a stranger's.
			if refused == nil || errors.Is(refused, sign.ErrUnknownKey) {
				refused = fmt.Errorf("image %s: %w", s.Digest.Hex(), err)
			}
			continue
		}
		if best == nil || s.Verdict.Statement.Sequence > best.Verdict.Statement.Sequence {
			s.source, best = i, s
		}
	}
	switch {
	case best != nil:
		return best, nil
	case refused != nil:
		return nil, refused
	}
	kind := "plain"
	if w.Bootable {
		kind = "bootable"
	}
	return nil, fmt.Errorf("%w that is %s and has objects by %v", ErrNoRelease, kind, w.Algorithm)
}

// parseArtifact finds the image of an artifact, if it is of the wanted kind.
func parseArtifact(a oci.Artifact, w Wanted) (*Sealed, bool) {
	for _, p := range a.Parts {
		if p.MediaType != imageType {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			format, bootable, ok := parseKey(key, w.Algorithm)
			if !ok || bootable != w.Bootable {
				continue
			}
			if d, err := verity.ParseHex(w.Algorithm, p.Annotations[key]); err == nil {
				return &Sealed{Composefs: Composefs{d, format, bootable}, part: p}, true
			}
		}
	}
	return nil, false
}

// parseKey parses what key returns.
func parseKey(key string, a verity.Algorithm) (format erofs.Format, bootable, ok bool) {
	rest, bootable := strings.CutPrefix(key, bootablePrefix)
	if !bootable {
		if rest, ok = strings.CutPrefix(key, mergedPrefix); !ok {
			return 0, false, false
		}
	}
	version, of, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(version, 10, 8)
	format = erofs.Format(n)
	return format, bootable, err == nil && format.Valid() && of == digestKey("", a)
}

// verify reads the seal and its signatures, and checks them by a policy.
func (s *Sealed) verify(ctx context.Context, a oci.Artifact, policy sign.Policy) error {
	var text []byte
	var signatures [][]byte
	for _, p := range a.Parts {
		if p.MediaType != sealType && p.MediaType != signatureType {
			continue
		}
		if len(signatures) == sign.MaxSignatures {
			break
		}
		b, err := readPart(ctx, p, max(sign.MaxSealSize, sign.MaxSignatureSize))
		if err != nil {
			return err
		}
		if p.MediaType == sealType {
			text = b
			continue
		}
		signatures = append(signatures, b)
	}
	var err error
	if s.Verdict, err = policy.Verify(s.Digest, text, signatures); err != nil {
		return err
	}
	if s.Seal, err = sign.ParseSeal(text); err != nil {
		return err
	}
	for _, b := range signatures {
		// Only the ones that hold are kept: others would take their places.
		if sig, err := sign.ParseSignature(b); err == nil && holds(s.Digest, text, b, policy.Keys) {
			s.Signatures = append(s.Signatures, sig)
		}
	}
	slices.SortFunc(s.Signatures, func(a, b sign.Signature) int { return bytes.Compare(a.Text(), b.Text()) })
	return nil
}

// holds reports whether a signature of a seal is by one of the keys.
func holds(image verity.Digest, text, signature []byte, keys sign.Keyring) bool {
	_, err := sign.Policy{Keys: keys}.Verify(image, text, [][]byte{signature})
	return err == nil
}

func readPart(ctx context.Context, p oci.Part, most int64) ([]byte, error) {
	if p.Size > most {
		return nil, fmt.Errorf("%w: %s: at most %d bytes, found %d", oci.ErrLimit, p.MediaType, most, p.Size)
	}
	r, err := p.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
