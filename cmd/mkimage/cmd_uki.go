package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// maxPart bounds a kernel, an initrd or a UKI, in bytes.
const maxPart = 2 << 30

const ukiLong = `A unified kernel image (UKI) is one EFI program that contains the kernel, the initrd and
the kernel command line. Under Secure Boot, firmware runs it only with a signature by a
key that it trusts, which rules out changes to any of them: the digest that the command
line pins, and the keys and the policy in the initrd.

  mkimage uki build --linux vmlinuz --initrd initrd.img --image $DIGEST \
      --sb-key db.key --sb-cert db.crt --output linux.efi
  mkimage uki verify --sb-cert db.crt linux.efi

If the key is elsewhere, in a safe or in hardware, the signature is made there:

  mkimage uki sign --to-be-signed tbs linux.efi
  openssl dgst -sha256 -sign db.key -out signature tbs        # there
  mkimage uki sign --add-signature signature --sb-cert db.crt \
      --output signed.efi linux.efi`

func newUKI(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uki COMMAND",
		Short: "assemble, sign and inspect unified kernel images and their addons",
		Long:  ukiLong,
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUKIBuild(u), newUKIAddon(u), newUKISign(u), newUKIInspect(u), newUKIVerify(u))
	return cmd
}

// ukiReport is what build, addon and sign report.
type ukiReport struct {
	File         string `json:"file"`
	Size         int    `json:"size"`
	Cmdline      string `json:"cmdline,omitempty"`
	Authenticode string `json:"authenticode,omitempty"` // SHA-256 that a signature stands for
	Signer       string `json:"signer,omitempty"`       // subject of the certificate
}

func (r ukiReport) String() string {
	s := fmt.Sprintf("%s: %s", r.File, size(int64(r.Size)))
	if r.Signer != "" {
		s += ", signed by " + r.Signer
	}
	if r.Cmdline != "" {
		s += ", command line: " + r.Cmdline
	}
	return s
}
