package sign

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/verity"
)

// ErrRefused matches every RefusedError.
var ErrRefused = errors.New("signature refused")

// Why an image is refused. ErrMalformed and ErrBadSignature are further reasons.
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

// A RefusedError is an image that a policy refuses.
type RefusedError struct {
	Image  verity.Digest
	Reason error // wraps one of the variables above, or is what kept a file from being read
}

func (e *RefusedError) Error() string { return ErrRefused.Error() + ": " + e.Reason.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// Is makes it an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// A DigestError is an image that isn't the one that was asked for. It is a
// verity.ErrMismatch.
type DigestError struct {
	Want, Found verity.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%v: want %s, found %s in its place: the image was changed or is another", verity.ErrMismatch, e.Want, e.Found.Hex())
}

// Unwrap returns verity.ErrMismatch.
func (e *DigestError) Unwrap() error { return verity.ErrMismatch }

// A MeasureError is an image for which the kernel has no digest, although fs-verity is
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

// CheckMeasured is CheckDigest of what verity.Measure returned for the image where
// fs-verity is required. An err of that is a MeasureError.
func CheckMeasured(want, found verity.Digest, err error) error {
	if err != nil {
		return &MeasureError{want, err}
	}
	return CheckDigest(want, found)
}

// CheckDigest compares the digest that was measured with the one that was asked for;
// the error is a DigestError.
func CheckDigest(want, found verity.Digest) error {
	if found == want {
		return nil
	}
	return &DigestError{want, found}
}
