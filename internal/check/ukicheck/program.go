package ukicheck

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// A Program is a UKI or an addon, read.
type Program struct {
	*uki.File
	Boots     []*Boot // one for each profile; an addon has one
	BootsErr  error   // why it isn't certain what these are
	Digest    secureboot.Digest
	DigestErr error // why there is no digest
}

// Read reads a program. What is wrong with one of its profiles is in that one's Problems.
func Read(program []byte) (*Program, error) {
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	p := &Program{File: f}
	p.Digest, p.DigestErr = uki.Digest(program)
	profiles, err := f.Profiles()
	p.BootsErr = err
	switch kind := f.Kind(); kind {
	case uki.KindUKI:
		for _, profile := range profiles {
			p.Boots = append(p.Boots, readProfile(f, profile))
		}
	case uki.KindAddon:
		p.Boots = []*Boot{readAddon(f, profiles[0])}
	default:
		p.Boots = []*Boot{readOther(kind, profiles[0])}
	}
	return p, nil
}

// ErrOtherImage is the cause when a profile names another image than was asked for.
var ErrOtherImage = errors.New("it names another image")

// A DifferError is about a profile that names another image than the first does.
type DifferError struct{ Image, First string }

func (e *DifferError) Error() string {
	return fmt.Sprintf("it names the image %s, and profile @0 names %s", e.Image, e.First)
}

// CompareImages adds a problem to each profile that names an image which isn't among the
// arguments wanted, or, if there are none, not the one that the first profile names. The
// problem is ErrOtherImage or a DifferError. A program that names no image isn't the one
// that was asked for either.
func (p *Program) CompareImages(wanted []string) {
	for _, b := range p.Boots {
		first := p.Boots[0].Image()
		switch {
		case b.Image() == "" && len(wanted) > 0 && len(b.Problems) == 0:
			b.problem(fmt.Errorf("%w: want %s, found none", ErrOtherImage, strings.Join(wanted, " or ")))
		case b.Image() == "":
		case len(wanted) > 0 && slices.ContainsFunc(b.Images, func(i string) bool { return !slices.Contains(wanted, i) }):
			b.problem(fmt.Errorf("%w: want %s, found %s", ErrOtherImage, strings.Join(wanted, " or "), b.Image()))
		case len(wanted) == 0 && first != "" && b.Image() != first:
			b.problem(&DifferError{b.Image(), first})
		}
	}
}

// A MissError is about a profile that doesn't name the image that was meant; either
// may be "".
type MissError struct{ Want, Found, Cmdline string }

func (e *MissError) Error() string {
	switch {
	case e.Found == "":
		return fmt.Sprintf("its command line names no image, want %s: %s", e.Want, e.Cmdline)
	case e.Want == "":
		return fmt.Sprintf("its command line names an image, %s, and none was meant", e.Found)
	}
	return fmt.Sprintf("its command line names the image %s, want %s", e.Found, e.Want)
}

// CheckBuilt refuses a program that is fresh from the builder, unless each of its
// profiles names the image that was meant and starts composefs-setup-root. A part is the
// program of a single profile, which may leave the command line to the UKI.
func (p *Program) CheckBuilt(image string, part bool) error {
	for _, b := range p.Boots {
		switch {
		case b.LineErr != nil:
			return b.In(b.LineErr)
		case len(b.refused) > 0:
			return b.In(errors.Join(b.refused...))
		case b.Image() == image || part && b.Cmdline == "":
		default:
			return b.In(&MissError{image, b.Image(), b.Cmdline})
		}
	}
	return nil
}

// CheckAddon refuses an addon for another machine than the UKI's, or one with which the
// kernel would cut off the command line of one of its profiles. line is the addon's.
func (p *Program) CheckAddon(addon []byte, line string) error {
	if a, err := uki.ReadArch(bytes.NewReader(addon)); err == nil && a.Machine != p.Machine {
		return fmt.Errorf("%w: the addon is for %s, the UKI for machine type %#x", uki.ErrArch, a.Go, p.Machine)
	}
	for _, b := range p.Boots {
		if err := uki.CheckCmdlineLength(strings.TrimSpace(b.Cmdline+" "+line), p.Machine); err != nil {
			return b.In(err)
		}
	}
	return nil
}
