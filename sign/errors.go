package sign

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/verity"
)

// ErrRefused matches every RefusedError.
var ErrRefused = errors.New("signature refused")

// Reasons for refusing an image. ErrMalformed and ErrBadSignature are others.
var (
	ErrNoSeal      = errors.New("image has no seal")
	ErrUnsigned    = errors.New("seal has no signature")
	ErrNoKeys      = errors.New("no key is trusted")
	ErrUnknownKey  = errors.New("seal is signed by no trusted key")
	ErrOtherDigest = errors.New("seal is for another image")
	ErrRevoked     = errors.New("image is revoked")
	ErrTooOld      = errors.New("image is too old")
	ErrOtherSystem = errors.New("image is of another system")
	ErrOtherRef    = errors.New("seal is for another ref")
)

// A RefusedError reports an image that a policy refuses.
type RefusedError struct {
	Image  verity.Digest
	Reason error // wraps one of the variables above, or says why a file can't be read
}

func (e *RefusedError) Error() string { return ErrRefused.Error() + ": " + e.Reason.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// Is reports whether target is ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// A DigestError reports an image that isn't the one that was asked for. It matches
// verity.ErrMismatch.
type DigestError struct {
	Want, Found verity.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%v: want %s, found %s in its place: the image was changed or is another", verity.ErrMismatch, e.Want, e.Found.Hex())
}

// Unwrap returns verity.ErrMismatch.
func (e *DigestError) Unwrap() error { return verity.ErrMismatch }

// A MeasureError reports an image for which the kernel has no digest, although fs-verity is
// required.
type MeasureError struct {
	Image verity.Digest
	Err   error // verity.ErrUnsupported, verity.ErrNotEnabled or another of verity.Measure
}

func (e *MeasureError) Error() string {
	switch {
	case errors.Is(e.Err, verity.ErrUnsupported):
		return fmt.Sprintf("the file system of image %s has no fs-verity", e.Image.Hex())
	case errors.Is(e.Err, verity.ErrNotEnabled):
		return fmt.Sprintf("image %s has no fs-verity digest", e.Image.Hex())
	}
	return fmt.Sprintf("digest mismatch: %v: the image isn't the one that was asked for", e.Err)
}

// Unwrap returns the cause.
func (e *MeasureError) Unwrap() error { return e.Err }

// CheckMeasured checks the results of verity.Measure for an image that must have fs-verity.
// The error is a *MeasureError if there is no digest, and a *DigestError if there is
// another one.
func CheckMeasured(want, found verity.Digest, err error) error {
	if err != nil {
		return &MeasureError{want, err}
	}
	return CheckDigest(want, found)
}

// CheckDigest compares the digest that was measured with the one that was asked for; the
// error is a *DigestError.
func CheckDigest(want, found verity.Digest) error {
	if found == want {
		return nil
	}
	return &DigestError{want, found}
}
