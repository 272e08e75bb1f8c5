package main

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/sign/secureboot"
)

const ukiInspectLong = `Inspect shows what is in a UKI or an addon: kernel, command line and the image that it
pins, the keys and the policy in the initrd, who says to have signed it, and each
section with its SHA-256. It believes nothing and checks no signature: that is the
business of mkimage uki verify.

The line "digest" has the Authenticode SHA-256, which a signature stands for; it is
the same before and after signing.`

func newUKIInspect(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "show what is in a unified kernel image",
		Long:  ukiInspectLong,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := openUKI(args[0])
			if err != nil {
				return err
			}
			c := o.contents(args[0])
			c.addSigners(o.Signatures)
			c.addSections(o.Sections)
			return u.result(c, c.String())
		},
	}
}

const ukiVerifyLong = `Verify checks that a UKI or an addon is signed by a certificate as firmware would that
has it in db: by its key, or by that of one that it issued. Then it tells what that
signature vouches for: the image that the command line pins, and the keys and the
policy in the initrd.

The exit status is 6 if the signature is refused, and 2 if command line, policy or
keys are such that composefs-setup-root would refuse to boot. Validity periods of
certificates aren't looked at, as by firmware.`

func newUKIVerify(u *ui) *cobra.Command {
	var trusted []string
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
			c, err := verifyUKI(args[0], trusted)
			if err != nil {
				return err
			}
			return u.result(c, c.String())
		},
	}
	cmd.Flags().StringArrayVar(&trusted, "sb-cert", nil, "trusted certificate `FILE`, PEM or DER (repeatable)")
	return cmd
}

func verifyUKI(name string, trusted []string) (*ukiContents, error) {
	var certs []*x509.Certificate
	for _, t := range trusted {
		c, err := readCertificates(t)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c...)
	}
	o, err := openUKI(name)
	if err != nil {
		return nil, err
	}
	if o.digestErr != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, name, o.digestErr)
	}
	signer, anchor, err := secureboot.Verify(o.digest, o.Signatures, certs)
	if errors.Is(err, secureboot.ErrUnsigned) {
		err = fmt.Errorf("%w: sign it with: mkimage uki sign", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, name, err)
	}
	c := o.contents(name)
	if len(c.problems) > 0 {
		return nil, configError{fmt.Errorf("the signature of %s is good, and what it vouches for is not: %w", name, errors.Join(c.problems...))}
	}
	c.Signature = &shownVerdict{"valid", signer.Subject.String(), anchor.Subject.String()}
	return c, nil
}
