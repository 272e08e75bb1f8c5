package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// errOlder is the cause when something newer would be replaced.
var errOlder = errors.New("refused to go back")

// A storedSequence is what the seal of an image in a repository says.
type storedSequence struct {
	number   uint64
	there    bool // it has a seal
	verified bool // one of the given keys has signed it
}

// String names the number, and says if anybody may have written it there.
func (s storedSequence) String() string {
	if s.verified {
		return fmt.Sprint(s.number)
	}
	return fmt.Sprintf("%d (unverified)", s.number)
}

// counts reports whether a lower number is to be refused. If there are keys, only a seal by
// one of them counts: anyone who can write to the repository can make another.
func (s storedSequence) counts(keys sign.Keyring) bool {
	return s.there && (s.verified || len(keys) == 0)
}

// readSequence reads the sequence in the seal of an image, and checks whether one of the
// keys has signed it.
func readSequence(r *repo.Repo, image verity.Digest, keys sign.Keyring) storedSequence {
	if v, err := (sign.Policy{Keys: keys}).Check(image, r.ReadSealFile); err == nil {
		return storedSequence{v.Statement.Sequence, true, true}
	}
	have, err := r.ReadSeal(image)
	if err != nil {
		return storedSequence{}
	}
	s, err := sign.ParseSeal(have.Text)
	return storedSequence{number: s.Statement().Sequence, there: err == nil}
}

// checkSeal refuses a sequence that is lower than that in the image's seal.
func (o *sealOptions) checkSeal(u *ui, r *repo.Repo, image verity.Digest, sequence uint64, keys sign.Keyring) error {
	have := readSequence(r, image, keys)
	switch {
	case o.force || !have.there || sequence >= have.number:
		return nil
	case !have.counts(keys):
		u.remark("image %s has a seal with sequence %d that none of these keys has signed: it is replaced", image.Hex(), have.number)
		return nil
	}
	return fmt.Errorf("%w: image %s is sealed with sequence %s: want that or a higher one, found %d", errOlder, image.Hex(), have, sequence)
}

// checkRef refuses to move a ref from one sealed image to another that isn't newer.
// sequence is that of the new one, if it has one.
func (o *sealOptions) checkRef(u *ui, r *repo.Repo, ref string, image verity.Digest, sequence uint64, sealed bool, keys sign.Keyring) error {
	old, err := r.Resolve(ref)
	if err != nil || old == image {
		return nil // it is no image, or the same
	}
	have := readSequence(r, old, keys)
	switch {
	case !have.there || o.force:
		return nil
	case !sealed:
		u.remark("ref %s pointed to an image sealed with sequence %d; this one has no seal yet", ref, have.number)
		return nil
	case sequence > have.number:
		return nil
	case !have.counts(keys):
		u.remark("ref %s pointed to an image sealed with sequence %d, by none of these keys", ref, have.number)
		return nil
	}
	return fmt.Errorf("%w: ref %s points to an image with sequence %s: want a higher one, found %d", errOlder, ref, have, sequence)
}

// takeSeal stores a seal that came with an image from elsewhere. One that is there and isn't older
// stays, if one of the keys has signed it or there are no keys: it may be the one that machines boot
// with, by more keys and for more systems.
func (o *sealOptions) takeSeal(u *ui, r *repo.Repo, seal sign.Seal, signatures []sign.Signature, keys sign.Keyring) error {
	said := seal.Statement()
	image := said.Digest
	if have, err := r.ReadSeal(image); err == nil && !bytes.Equal(have.Text, seal.Text()) {
		there := readSequence(r, image, keys)
		if !o.force && there.counts(keys) && there.number >= said.Sequence {
			u.remark("image %s keeps its seal with sequence %d; the one that came along, with sequence %d, says something else", image.Hex(), there.number, said.Sequence)
			return nil
		}
		var ids []sign.KeyID
		for _, s := range signatures {
			ids = append(ids, s.KeyID)
		}
		o.remarkLost(u, r, seal, ids)
	}
	return addSignatures(u, r, seal, signatures, keys)
}

// publicKeys are the public halves of open keys.
func publicKeys(signers []signer) (keys sign.Keyring) {
	for _, s := range signers {
		keys = append(keys, s.key.Public(""))
	}
	return keys
}
