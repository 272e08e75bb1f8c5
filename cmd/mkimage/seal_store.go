package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealed is what seal reports.
type sealed struct {
	Digest   verity.Digest `json:"digest"`
	Sequence uint64        `json:"sequence"`
	Refs     []string      `json:"refs,omitempty"` // that it is for
	Keys     []string      `json:"keys"`           // that signed now
	File     string        `json:"file"`           // in the repository
}

// statement is what a seal says about the image.
func (o *sealOptions) statement(image verity.Digest, format erofs.Format, size int64) sign.Seal {
	return sign.Seal{
		Digest: image, Format: format.String(), Size: uint64(size),
		OSID: o.osID, OSVersion: o.osVersion, Sequence: o.sequence, Refs: sign.Refs(strings.Join(o.refs(), " ")),
	}
}

// refs returns the names in one order, so that the same options make the same text.
func (o *sealOptions) refs() []string {
	refs := slices.Clone(o.forRefs)
	slices.Sort(refs)
	return slices.Compact(refs)
}

// seal signs the statement about an image and stores both. The public half of a key that
// is forgotten is written first: a seal that nobody can check would be worse than a key
// without one.
func (o *sealOptions) seal(u *ui, r *repo.Repo, image verity.Digest, format erofs.Format, size int64, signers []signer) (sealed, error) {
	text := o.statement(image, format, size).Text()
	result := sealed{Digest: image, Sequence: o.sequence, Refs: o.refs(), File: "seals/" + sign.SealName(image)}
	var signatures []repo.Signature
	var known sign.Keyring
	for _, s := range signers {
		signature, err := sign.Sign(text, s.key)
		if err == nil && s.public != "" {
			err = u.writeOutputBytes(s.public, s.key.Public("").Text())
		}
		if err != nil {
			return result, fmt.Errorf("seal image %s: %w", image.Hex(), err)
		}
		signatures = append(signatures, repo.Signature{KeyID: s.key.ID(), Text: signature})
		known = append(known, s.key.Public(""))
		result.Keys = append(result.Keys, s.key.ID().String())
	}
	if err := r.WriteSeal(image, text, signatures, known); err != nil {
		return result, fmt.Errorf("seal image %s: %w", image.Hex(), err)
	}
	return result, nil
}
