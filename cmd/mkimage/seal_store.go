package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealed is what seal reports.
type sealed struct {
	Digest   verity.Digest `json:"digest"`
	Sequence uint64        `json:"sequence"`
	Keys     []string      `json:"keys"` // that signed now
	File     string        `json:"file"` // in the repository
}

// statement is what a seal says about the image.
func (o *sealOptions) statement(image verity.Digest, format erofs.Format, size int64) sign.Seal {
	return sign.Seal{
		Digest: image, Format: format.String(), Size: uint64(size),
		OSID: o.osID, OSVersion: o.osVersion, Sequence: o.sequence,
	}
}

// seal signs the statement about an image and stores both.
func (o *sealOptions) seal(u *ui, r *repo.Repo, image verity.Digest, format erofs.Format, size int64, signers []signer) (sealed, error) {
	statement := o.statement(image, format, size)
	result := sealed{Digest: image, Sequence: o.sequence, File: "seals/" + sign.SealName(image)}
	for _, s := range signers {
		text := statement.Text()
		signature, err := sign.Sign(text, s.key)
		if err == nil {
			err = storeSignature(r, image, text, signature, s.key.ID())
		}
		if err == nil && s.public != "" {
			err = u.writeOutputBytes(s.public, s.key.Public("").Text())
		}
		if err != nil {
			return result, fmt.Errorf("seal image %s: %w", image.Hex(), err)
		}
		result.Keys = append(result.Keys, sign.FormatID(s.key.ID()))
	}
	return result, nil
}

// storeSignature puts a seal and a signature into the repository. If the same text
// is there already, the signature is added to those by other keys; else they are
// all of another text, and go.
func storeSignature(r *repo.Repo, image verity.Digest, text, signature []byte, key uint64) error {
	have, err := r.ReadSeal(image)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(have.Text, text) {
		have = repo.Seal{Text: text, Signatures: map[string][]byte{}}
	}
	suffix := strings.TrimPrefix(sign.SignatureName(image), sign.SealName(image))
	if other, taken := have.Signatures[suffix]; taken && !madeBy(other, key) {
		suffix = strings.TrimPrefix(sign.KeySignatureName(image, key), sign.SealName(image))
	}
	have.Signatures[suffix] = signature
	return r.WriteSeal(image, have)
}

func madeBy(signature []byte, key uint64) bool {
	s, err := sign.ParseSignature(signature)
	return err == nil && s.KeyID == key
}
