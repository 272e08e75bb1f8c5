package sign

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/composefs-go/composefs/verity"
)

// ErrRefused is the cause when an image is refused by Check, whatever the reason.
var ErrRefused = errors.New("signature refused")

// A Need says how much a seal matters. The zero value requires one.
type Need string

// The needs, as [verify] signature has them.
const (
	Require  Need = "require"
	Optional Need = "optional" // none is accepted, a bad one is refused
	Off      Need = "off"      // not looked at; revoked images are refused all the same
)

// A ReadSeal reads a file of the directory of seals: fs.ErrNotExist if it isn't
// there, another error if it is no regular file or has more than limit bytes.
type ReadSeal func(name string, limit int64) ([]byte, error)

// Check finds the seal of an image and decides by it. It is what composefs-setup-root
// and `mkimage verify` both do, so that they say the same about the same image. The
// digest is the one that was measured. The verdict has no key if the image was
// accepted without a seal.
//
// One signature by a trusted key is enough. Only files that are named after the
// trusted keys are looked at, so that their number is bounded by that of the keys, two
// for each and one more;
// one that can't be read, or isn't good, does no harm beside one that is.
func (p Policy) Check(image verity.Digest, read ReadSeal) (Verdict, error) {
	v, err := p.check(image, read)
	if err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return v, nil
}

func (p Policy) check(image verity.Digest, read ReadSeal) (Verdict, error) {
	if err := p.CheckRevoked(image); err != nil || p.Need == Off {
		return Verdict{}, err
	}
	seal, err := read(SealName(image), MaxSealSize)
	if errors.Is(err, fs.ErrNotExist) {
		if p.Need == Optional {
			return Verdict{}, nil
		}
		seal, err = nil, nil // Verify says it
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("read the seal: %w", err)
	}
	var signatures [][]byte
	var unread error
	look := func(names []string) {
		for _, name := range names {
			text, err := read(name, MaxSignatureSize)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && unread == nil {
				unread = fmt.Errorf("read a signature of the seal: %w", err)
			}
			signatures = append(signatures, text)
		}
	}
	look(p.Keys.SignatureNames(image))
	v, err := p.Verify(image, seal, signatures)
	if errors.Is(err, ErrUnsigned) || errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrBadSignature) {
		look(p.Keys.nextSignatureNames(image))
		v, err = p.Verify(image, seal, signatures)
	}
	if unread != nil && (errors.Is(err, ErrUnsigned) || errors.Is(err, ErrUnknownKey)) {
		return Verdict{}, unread // the more useful of the two
	}
	return v, err
}

// CheckMeasured is CheckDigest of what verity.Measure returned for the image where
// fs-verity is required.
func CheckMeasured(want, found verity.Digest, err error) error {
	switch {
	case errors.Is(err, verity.ErrUnsupported):
		return fmt.Errorf("the file system of image %s has no fs-verity: turn it on (ext4: tune2fs -O verity DEVICE) and install the image again, or set [verify] fs-verity = \"userspace\"", want.Hex())
	case errors.Is(err, verity.ErrNotEnabled):
		return fmt.Errorf("image %s has no fs-verity digest: install it again (a plain copy loses it), or boot another entry", want.Hex())
	case err != nil:
		return fmt.Errorf("digest mismatch: %w: the image isn't the one that the command line names: restore it or boot another entry", err)
	}
	return CheckDigest(want, found)
}

// CheckDigest compares the digest that was measured with the one that was asked for;
// the error is a verity.ErrMismatch.
func CheckDigest(want, found verity.Digest) error {
	if found == want {
		return nil
	}
	return fmt.Errorf("%w: want %s, found %s in its place: the image was changed or is another: restore it or boot another entry",
		verity.ErrMismatch, want, found.Hex())
}
