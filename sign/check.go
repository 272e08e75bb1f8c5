package sign

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/composefs-go/composefs/verity"
)

// A Status is the outcome of checking an image against a policy. The zero value is a
// refusal, so that a verdict that was never set can't be taken for an acceptance.
type Status uint8

// The statuses.
const (
	Refused     Status = iota
	NotRequired        // accepted: the policy doesn't ask for a seal, and none was looked for
	Unsealed           // accepted: there is no seal, and the policy doesn't require one
	Sealed             // accepted: the seal is valid
)

// String returns the status as boot.json has it: "refused", "not-required", "none" or
// "valid".
func (s Status) String() string {
	switch s {
	case NotRequired:
		return "not-required"
	case Unsealed:
		return "none"
	case Sealed:
		return "valid"
	}
	return "refused"
}

// MarshalText returns the same as String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText returns.
func (s *Status) UnmarshalText(text []byte) error {
	for known := Refused; known <= Sealed; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%w status of a seal %.40q: want refused, not-required, none or valid", ErrMalformed, text)
}

// A Verdict says whether an image is ours, and why. The zero value says that it isn't.
type Verdict struct {
	Status    Status
	Statement Statement // what the seal says, if the Status is Sealed
	Key       Key       // that signed it, if the Status is Sealed
}

// A ReadSeal reads a file of a seal: fs.ErrNotExist if it isn't there, another error if it
// is no regular file or is larger than its Limit.
type ReadSeal func(File) ([]byte, error)

// Check reads the seal of an image and decides by it. The digest is the one that was
// measured. An error is a *RefusedError, and the verdict is then Refused.
//
// One signature by a trusted key is enough. Check looks only at files that are named after
// the trusted keys: at most one, and two more for each key. A file that can't be read or
// holds no valid signature does no harm if another one does.
func (p Policy) Check(image verity.Digest, read ReadSeal) (Verdict, error) {
	v, err := p.check(image, read)
	return refused(image, v, err)
}

// refused wraps an error in a RefusedError, and returns no verdict beside it.
func refused(image verity.Digest, v Verdict, err error) (Verdict, error) {
	if err != nil {
		return Verdict{}, &RefusedError{image, err}
	}
	return v, nil
}

func (p *Policy) check(image verity.Digest, read ReadSeal) (Verdict, error) {
	if err := p.checkRevoked(image); err != nil || p.Need == Off {
		return Verdict{Status: NotRequired}, err
	}
	seal, err := read(TextFile(image))
	if errors.Is(err, fs.ErrNotExist) {
		if p.Need == Optional {
			return Verdict{Status: Unsealed}, nil
		}
		seal, err = nil, nil // verify says it
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("read the seal: %w", err)
	}
	var signatures [][]byte
	var unread error
	look := func(files []File) {
		for _, f := range files {
			text, err := read(f)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && unread == nil {
				unread = fmt.Errorf("read a signature of the seal: %w", err)
			}
			signatures = append(signatures, text)
		}
	}
	look(p.Keys.SignatureFiles(image))
	v, err := p.verify(image, seal, signatures)
	if errors.Is(err, ErrUnsigned) || errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrBadSignature) {
		// These exist only if sealing the image again was interrupted.
		look(p.Keys.filesOf(image, NextSignatureFile))
		v, err = p.verify(image, seal, signatures)
	}
	if unread != nil && (errors.Is(err, ErrUnsigned) || errors.Is(err, ErrUnknownKey)) {
		return Verdict{}, unread // the more useful of the two
	}
	return v, err
}
