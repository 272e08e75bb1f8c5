package main

import "github.com/spf13/cobra"

const ukiInspectLong = `Inspect shows what is in a UKI or an addon: the kernel, the command line and the image
that it pins, the keys and the policy in the initrd, the signer that a signature names,
and each section with its SHA-256; for a UKI with several profiles, all of that for each
profile. It checks no signature; mkimage uki verify does.

The line "digest" has the Authenticode SHA-256, which a signature covers; it is the same
before and after signing.`

func newUKIInspect(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "show what is in a unified kernel image",
		Long:  ukiInspectLong,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := openUKI(args[0])
			if err != nil {
				return err
			}
			c := showUKI(args[0], p)
			c.addSigners(p.Signatures)
			c.addSections(p.Sections)
			return u.result(c, c.String())
		},
	}
}
