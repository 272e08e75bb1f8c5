package repo

import (
	"errors"
	"fmt"
	"os"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A Demand says whether an image must have fs-verity. Verify hashes its content in any case,
// which finds damage.
type Demand uint8

// The demands.
const (
	AnyContent    Demand = iota // the kernel isn't asked
	AskKernel                   // the image must have it unless the file system hasn't
	RequireVerity               // the image must have it
)

// A Verified is an open image that has the digest that it should have, and that a policy
// accepts. Since it is open, what was measured is what will be used.
type Verified struct {
	*os.File
	Image    verity.Digest
	Size     int64 // in bytes
	Measured bool  // the kernel has its digest
	Verdict  sign.Verdict
}

// Verify opens an image as the boot does and checks it against its digest and the policy.
// Its errors are those that OpenBootable returns, *sign.MeasureError, *sign.DigestError and
// *sign.RefusedError.
func (r *Repo) Verify(d verity.Digest, policy sign.Policy, demand Demand) (*Verified, error) {
	f, err := r.OpenBootable(d)
	if err != nil {
		return nil, err
	}
	v := &Verified{File: f, Image: d}
	if err := r.verify(v, policy, demand); err != nil {
		f.Close()
		return nil, err
	}
	return v, nil
}

func (r *Repo) verify(v *Verified, policy sign.Policy, demand Demand) error {
	if demand != AnyContent {
		found, err := verity.Measure(v.File, v.Image.Algorithm())
		if demand == RequireVerity || !errors.Is(err, verity.ErrUnsupported) {
			if err := sign.CheckMeasured(v.Image, found, err); err != nil {
				return err
			}
			v.Measured = true
		}
	}
	st, err := v.Stat()
	if err != nil {
		return err
	}
	v.Size = st.Size()
	found, err := verity.SumFile(v.Image.Algorithm(), v.File, v.Size)
	if err != nil {
		return fmt.Errorf("read image %s: %w", v.Image.Hex(), err)
	}
	if err := sign.CheckDigest(v.Image, found); err != nil {
		return err
	}
	v.Verdict, err = policy.Check(v.Image, r.ReadSealFile)
	return err
}
