package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/check/ukicheck"
	"github.com/composefs-go/composefs/sign/secureboot"
)

const ukiVerifyLong = `Verify checks the signature of a UKI or an addon as firmware with the certificate in db
does: it must be by the certificate's key, or by the key of a certificate that it issued.
Then it shows what the signature covers: the image that the command line pins, and the
keys and the policy in the initrd. Any profile of a UKI can be chosen at boot, so there is
a verdict for each, and all must name the same image; --image DIGEST says which.

The exit status is 6 if the signature is refused, and 5 if a profile names another image
than --image. It is 2 if a profile verifies nothing, because it names no image or its
initrd doesn't start composefs-setup-root; if its command line leads away from what is
verified (rdinit=, mount.usr=, an init= in /var); if its microcode contains anything else;
or if composefs-setup-root would refuse its command line, policy or keys. Anything else
that the signer should know, such as a possible shell, is a warning. Like firmware, verify
ignores the validity periods of certificates.

Verify judges how the programs in an initrd are started and configured, and not the
programs: it knows composefs-setup-root by a sentence in it. Sign only what was made from
packages that you trust.

An addon is judged in the same way, for whatever UKI it may be used with: by its arguments,
and by the files that its initrd puts over the UKI's. Firmware, kernel modules, keys and the
policy are a warning. Any other file has status 2, since the programs of an initrd may run
or obey it.`

func newUKIVerify(u *ui) *cobra.Command {
	var trusted, images []string
	cmd := &cobra.Command{
		Use:     "verify --sb-cert FILE FILE",
		Short:   "check the Secure Boot signature of a UKI, and tell what it vouches for",
		Long:    ukiVerifyLong,
		Example: "  mkimage uki verify --sb-cert db.crt linux.efi",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(trusted) == 0 {
				return usagef(cmd, "uki verify needs --sb-cert; to look without checking: mkimage uki inspect")
			}
			var pins []string
			for _, image := range images {
				p, err := imageArgument(image)
				if err != nil {
					return usagef(cmd, "--image: %w", err)
				}
				pins = append(pins, p)
			}
			c, err := verifyUKI(args[0], trusted, pins)
			if c != nil && (err == nil || len(c.Profiles) > 1) {
				err = errors.Join(u.result(c, c.String()), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&trusted, "sb-cert", nil, "trusted certificate `FILE`, PEM or DER (repeatable)")
	f.StringArrayVar(&images, "image", nil, "every profile must name the image with this `DIGEST` (repeatable: one of these)")
	return cmd
}

// verifyUKI checks the signature and then what it vouches for. The contents come with
// an error about those, too.
func verifyUKI(name string, trusted, pins []string) (*ukiContents, error) {
	var certs []*x509.Certificate
	for _, t := range trusted {
		c, err := readCertificates(t)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c...)
	}
	p, err := openUKI(name)
	if err != nil {
		return nil, err
	}
	if p.DigestErr != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, name, p.DigestErr)
	}
	signer, anchor, err := secureboot.Verify(p.Digest, p.Signatures, certs)
	if errors.Is(err, secureboot.ErrUnsigned) {
		err = fmt.Errorf("%w: sign it with: mkimage uki sign --sb-key KEY --sb-cert CERTIFICATE --output %[2]s %[2]s", err, shellWord(name))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, name, err)
	}
	p.CompareImages(pins)
	c := showUKI(name, p)
	c.Signature = &shownVerdict{"valid", signer.Subject.String(), anchor.Subject.String()}
	for _, profile := range c.Profiles {
		profile.Verdict = "trusted"
		if len(profile.Problems) > 0 || p.BootsErr != nil {
			profile.Verdict = "refused"
		}
	}
	if len(c.problems) == 0 {
		return c, nil
	}
	err = fmt.Errorf("the signature of %s is good, but what it signs must not be trusted: %w", name, errors.Join(c.problems...))
	if !slices.ContainsFunc(c.problems, func(e error) bool { return !errors.Is(e, ukicheck.ErrOtherImage) }) {
		return c, err
	}
	return c, configError{err}
}
