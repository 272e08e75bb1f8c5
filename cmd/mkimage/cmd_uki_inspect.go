package main

import "github.com/spf13/cobra"

const ukiInspectLong = `Inspect shows what is in a UKI or an addon: kernel, command line and the image that it
pins, the keys and the policy in the initrd, who says to have signed it, and each
section with its SHA-256. Of a UKI with several profiles it shows all that for each.
It believes nothing and checks no signature: that is the business of mkimage uki
verify.

The line "digest" has the Authenticode SHA-256, which a signature stands for; it is
the same before and after signing.`

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
