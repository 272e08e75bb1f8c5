package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// openFirst opens the first image of the command line that exists. If that one
// turns out to be bad the boot fails: the others are no way around it.
func (s *session) openFirst() error {
	for _, i := range s.o.Cmdline.Images {
		err := s.sys.OpenImage(i.Digest)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.use(i)
		return notAnImage(err)
	}
	images := s.o.Cmdline.Images
	if len(images) == 1 {
		return problem(NoImage, "image not found: the command line has %s, but there is no composefs/images/%s on the root partition", images[0].Argument, images[0].Digest.Hex())
	}
	return problem(NoneOfImages, "image not found: none of the %d that the command line names is in composefs/images of the root partition, the first is %s", len(images), images[0].Argument)
}

func (s *session) openRef() error {
	name := s.o.Cmdline.Ref
	d, err := s.sys.ResolveRef(name)
	if errors.Is(err, fs.ErrNotExist) {
		return problem(NoRef, "image not found: the command line has composefs.ref=%s, but there is no composefs/images/refs/%s on the root partition", name, name)
	}
	if err != nil {
		return problem(BadRef, "image not found: composefs.ref=%s: %w", name, err)
	}
	s.use(bootcfg.Image{Digest: d, Argument: "composefs.ref=" + name})
	err = s.sys.OpenImage(d)
	if errors.Is(err, fs.ErrNotExist) {
		return problem(NoImage, "image not found: composefs.ref=%s points to %s, but there is no composefs/images/%s on the root partition", name, d.Hex(), d.Hex())
	}
	return notAnImage(err)
}

// notAnImage is for an error on opening something in the image's place that isn't one: a
// link that leads out of the repository, a device.
func notAnImage(err error) error {
	if err == nil {
		return nil
	}
	return problem(NotAnImage, "image not found: want a file of the repository: %w", err)
}

// use remembers which image it is, and how much is asked of it.
func (s *session) use(i bootcfg.Image) {
	s.image = i
	s.level = s.o.Config.Verify.FSVerity
	// newPlan has refused the mark if the policy doesn't allow it.
	if i.Optional && s.level == bootcfg.Require {
		s.level = bootcfg.Optional
	}
}

func (s *session) measure() error {
	found, err := s.sys.Measure(s.image.Digest.Algorithm())
	absent := errors.Is(err, verity.ErrNotEnabled) || errors.Is(err, verity.ErrUnsupported)
	if absent && s.level == bootcfg.Optional {
		s.warn("image %s has no fs-verity, which \"?\" on the command line permits: nothing proves that it is unchanged", s.image.Digest.Hex())
		return nil
	}
	return sign.CheckMeasured(s.image.Digest, found, err)
}

// readImage finds damage now: fs-verity checks a block only when it is read.
func (s *session) readImage() error {
	return s.damaged(s.sys.ReadImage())
}

// damaged tells damage from other errors on reading the image.
func (s *session) damaged(err error) error {
	if errors.Is(err, syscall.EIO) {
		return problem(DamagedImage, "digest mismatch: image %s is damaged: reading it: %w", s.image.Digest.Hex(), syscall.EIO)
	}
	return err
}

func (s *session) hashImage() error {
	found, err := s.sys.HashImage(s.image.Digest.Algorithm())
	if err != nil {
		return fmt.Errorf("hash the image: %w", s.damaged(err))
	}
	return sign.CheckDigest(s.image.Digest, found)
}

// checkSeal holds the seal against the policy. Revocation needs no seal.
func (s *session) checkSeal() error {
	v := s.o.Config.Verify
	policy, err := v.Policy(s.o.Keys)
	if err != nil {
		return refuse(CodeConfig, err)
	}
	policy.Ref = s.o.Cmdline.Ref
	s.boot.Seal, err = policy.Check(s.image.Digest, s.sys.ReadSeal)
	return err
}
