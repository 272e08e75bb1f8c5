package doctor

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// nameOf returns the name of a machine as Go has it.
func nameOf(machine uint16) string {
	if a, ok := uki.ArchOfMachine(machine); ok {
		return a.Go
	}
	return fmt.Sprintf("machine type %#x", machine)
}

// kernel checks the kernel of a profile, and returns its release.
func (u ukiOnDisk) kernel(r *Report, f uki.Profile) string {
	linux, ok := f.Section(".linux")
	if !ok {
		r.Stop("kernel/section", "there is no kernel (.linux) in it")
	}
	text, _ := f.Section(".uname")
	said := strings.TrimRight(string(text), "\x00\n")
	var release string
	if ok {
		if release = checkKernelFile(r, "kernel/program", linux, u.machine); release == "" && said == "" {
			unknownKernel(r, "kernel-version/unsaid")
		}
	}
	switch {
	case release == "":
		release = said
	case said != "" && said != release:
		r.Warn("uname", ".uname says %s, the kernel is %s", said, release)
	}
	if release != "" {
		r.Fact("kernel", "%s", release)
	}
	return release
}

// checkKernelFile checks that UEFI firmware of the machine, if it is known, can start
// a kernel, and returns which one it is, "" if it doesn't say so.
func checkKernelFile(r *Report, unfit Kind, linux []byte, machine uint16) string {
	f, err := uki.Parse(bytes.NewReader(linux))
	switch {
	case err != nil:
		r.Stop(unfit, "firmware can't start the kernel: %v", err)
		return ""
	case machine != 0 && f.Machine != machine:
		r.Stop("kernel/machine", "the kernel is for %s, the rest for %s", nameOf(f.Machine), nameOf(machine))
	}
	release, _ := uki.KernelVersion(linux)
	return release
}

func unknownKernel(r *Report, kind Kind) {
	r.Warn(kind, "the kernel doesn't say its version, so whether it is new enough can't be told, nor whether the modules are its own")
}

// checkName checks that systemd-boot has a name for the menu. It leaves out a UKI
// without one.
func checkName(f *uki.File) error {
	text, ok := f.Section(".osrel")
	if !ok {
		return errors.New("there is no .osrel in it: systemd-boot leaves it out of its menu")
	}
	for line := range strings.Lines(string(bytes.TrimRight(text, "\x00"))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "PRETTY_NAME", "IMAGE_ID", "NAME", "ID":
			if strings.Trim(value, "\"'") != "" {
				return nil
			}
		}
	}
	return errors.New("the .osrel in it has neither PRETTY_NAME nor IMAGE_ID, NAME or ID: systemd-boot leaves it out of its menu")
}

// signerOf returns the certificate by which a program is signed for Secure Boot. Only the
// firmware knows whether it trusts that.
func signerOf(program []byte, f *uki.File) (*x509.Certificate, error) {
	digest, err := uki.Digest(program)
	if err != nil {
		return nil, err
	}
	var own []*x509.Certificate
	for _, der := range f.Signatures {
		if s, err := secureboot.Parse(der); err == nil {
			own = append(own, s.Certificates...)
		}
	}
	signer, _, err := secureboot.Verify(digest, f.Signatures, own)
	return signer, err
}

// checkSignature checks that the Secure Boot signature is one of this program.
func (e *Examiner) checkSignature(r *Report, program []byte, f *uki.File) {
	if !f.Signed {
		return // which is said elsewhere
	}
	if _, err := uki.Digest(program); err != nil {
		r.Stop("signature/malformed", "%v", err)
		return
	}
	signer, err := signerOf(program, f)
	if err != nil {
		r.Stop("signature", "Secure Boot refuses it: %v", err)
		return
	}
	r.Fact("signature", "by %s, valid until %s", signer.Subject, signer.NotAfter.UTC().Format("2006-01-02"))
	switch {
	case e.Now.IsZero():
	case e.Now.After(signer.NotAfter):
		r.Warn("certificate/expired", "the certificate of its signature, %s, has expired on %s: firmware doesn't look at that, other programs may", signer.Subject, signer.NotAfter.UTC().Format("2006-01-02"))
	case e.Now.Before(signer.NotBefore):
		r.Warn("certificate/early", "the certificate of its signature, %s, is valid only from %s on: firmware doesn't look at that, other programs may", signer.Subject, signer.NotBefore.UTC().Format("2006-01-02"))
	}
}
