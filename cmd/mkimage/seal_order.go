package main

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// errOlder is the cause when something newer would be replaced.
var errOlder = errors.New("refused to go back")

// storedSequence returns the sequence in the seal of an image, if it has a seal. Nobody
// has checked that: it keeps from mistakes, not from attacks.
func storedSequence(r *repo.Repo, image verity.Digest) (sequence uint64, ok bool) {
	have, err := r.ReadSeal(image)
	if err != nil {
		return 0, false
	}
	s, err := sign.ParseSeal(have.Text)
	return s.Statement().Sequence, err == nil
}

// checkSeal refuses a sequence that is lower than that in the image's seal.
func (o *sealOptions) checkSeal(r *repo.Repo, image verity.Digest, sequence uint64) error {
	if have, ok := storedSequence(r, image); ok && sequence < have && !o.force {
		return fmt.Errorf("%w: image %s is sealed with sequence %d: want that or a higher one, found %d", errOlder, image.Hex(), have, sequence)
	}
	return nil
}

// checkRef refuses to move a ref from one sealed image to another that isn't newer.
// sequence is that of the new one, if it has one.
func (o *sealOptions) checkRef(u *ui, r *repo.Repo, ref string, image verity.Digest, sequence uint64, sealed bool) error {
	old, err := r.Resolve(ref)
	if err != nil || old == image {
		return nil // it is no image, or the same
	}
	have, ok := storedSequence(r, old)
	switch {
	case !ok || o.force:
		return nil
	case !sealed:
		u.remark("remark: ref %s pointed to an image sealed with sequence %d; this one has no seal yet", ref, have)
		return nil
	case sequence <= have:
		return fmt.Errorf("%w: ref %s points to an image with sequence %d: want a higher one, found %d", errOlder, ref, have, sequence)
	}
	return nil
}
