package main

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealReport is what seal reports.
type sealReport struct {
	Digest   verity.Digest `json:"digest"`
	Sequence uint64        `json:"sequence"`
	Refs     []string      `json:"refs,omitempty"` // that it is for
	Keys     []sign.KeyID  `json:"keys"`           // that signed now
	File     string        `json:"file"`           // in the repository
}

func newSealReport(s sign.Statement, keys []sign.KeyID) sealReport {
	return sealReport{s.Digest, s.Sequence, s.Refs, keys, path.Join(sign.Directory, sign.TextFile(s.Digest).Name())}
}

// newSeal returns the seal that the options ask for. They may say what no seal may.
func (o *sealOptions) newSeal(image verity.Digest, format erofs.Format, size int64) (sign.Seal, error) {
	return sign.NewSeal(sign.Statement{
		Digest: image, Format: format.String(), Size: uint64(size),
		OSID: o.osID, OSVersion: o.osVersion, Sequence: o.sequence, Refs: o.refs(),
	})
}

// refs returns the names in one order, so that the same options make the same text.
func (o *sealOptions) refs() []string {
	refs := slices.Clone(o.forRefs)
	slices.Sort(refs)
	return slices.Compact(refs)
}

// store signs a seal and stores it with the signatures. The public half of a key that is
// forgotten is written first: a seal that nobody can check would be worse than a key
// without one.
func (o *sealOptions) store(u *ui, r *repo.Repo, seal sign.Seal, signers []signer) (sealReport, error) {
	said := seal.Statement()
	var signatures []sign.Signature
	var ids []sign.KeyID
	for _, s := range signers {
		signature, err := sign.Sign(seal, s.key)
		if err == nil && s.public != "" {
			err = u.writeOutputBytes(s.public, s.key.Public("").Text())
		}
		if err != nil {
			return sealReport{}, fmt.Errorf("seal image %s: %w", said.Digest.Hex(), err)
		}
		signatures, ids = append(signatures, signature), append(ids, s.key.ID())
	}
	o.remarkLost(u, r, seal, ids)
	return newSealReport(said, ids), addSignatures(u, r, seal, signatures, publicKeys(signers))
}

// addSignatures stores a seal with signatures, one sealing at a time.
func addSignatures(u *ui, r *repo.Repo, seal sign.Seal, signatures []sign.Signature, known sign.Keyring) error {
	_, err := locking(u, sign.Directory, func() (struct{}, error) {
		return struct{}{}, r.AddSignatures(seal, signatures, known)
	})
	return err
}

// remarkLost says which keys' signatures go when a seal takes the place of another one.
func (o *sealOptions) remarkLost(u *ui, r *repo.Repo, seal sign.Seal, by []sign.KeyID) {
	image := seal.Statement().Digest
	have, err := r.ReadSeal(image)
	if err != nil || bytes.Equal(have.Text, seal.Text()) {
		return
	}
	var lost []string
	for _, text := range have.Signatures {
		s, err := sign.ParseSignature(text)
		if err == nil && !slices.Contains(by, s.KeyID) {
			lost = append(lost, s.KeyID.String())
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		u.remark("the seal of image %s that was there was signed by %s too, and this statement is another: machines that trust no other key don't boot the image until that key seals it again",
			image.Hex(), strings.Join(slices.Compact(lost), " and "))
	}
}
