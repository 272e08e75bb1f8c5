package main

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// secureBoot is what build, addon and sign take to sign a program.
type secureBoot struct{ key, cert string }

func (o *secureBoot) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.key, "sb-key", "", "sign for Secure Boot with the RSA private key in `FILE` (PEM or DER)")
	f.StringVar(&o.cert, "sb-cert", "", "`FILE` with the certificate of the key; a PEM file may go on with the chain of certificates to one in db")
}

// programSigner signs programs; nil signs none.
type programSigner struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

// open reads key and certificate before anything else is done.
func (o *secureBoot) open(cmd *cobra.Command) (*programSigner, error) {
	if o.key == "" && o.cert == "" {
		return nil, nil
	}
	if o.key == "" || o.cert == "" {
		return nil, usagef(cmd, "want both --sb-key and --sb-cert: the signature includes the certificate")
	}
	text, err := readSmall(o.key, secureboot.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("--sb-key: %w", err)
	}
	if isSealKey(text) {
		return nil, &filekind.Error{Path: o.key, Found: sealKey, Want: "an RSA private key as openssl writes it, for Secure Boot"}
	}
	key, err := secureboot.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.key, err)
	}
	chain, err := readCertificates(o.cert)
	return &programSigner{key, chain}, err
}

// sealKey is what isSealKey finds.
const sealKey filekind.Kind = "a key of minisign, which is for seals"

func isSealKey(text []byte) bool {
	kind := filekind.Key(text)
	return kind == filekind.PrivateKey || kind == filekind.PublicKey
}

func readCertificates(name string) ([]*x509.Certificate, error) {
	text, err := readSmall(name, secureboot.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("--sb-cert: %w", err)
	}
	if isSealKey(text) {
		return nil, &filekind.Error{Path: name, Found: sealKey, Want: "an X.509 certificate, for Secure Boot"}
	}
	chain, err := secureboot.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return chain, nil
}

// save signs the program, if there is a signer, writes it and reports.
func (s *programSigner) save(u *ui, program []byte, report ukiReport) error {
	digest, err := uki.Digest(program)
	if err == nil {
		report.Authenticode = hex.EncodeToString(digest[:])
	}
	if s != nil {
		if err != nil {
			return fmt.Errorf("sign %s: %w", report.File, err)
		}
		signature, err := secureboot.Sign(digest, s.key, s.chain)
		if err != nil {
			return fmt.Errorf("sign %s: %w", report.File, err)
		}
		if program, err = uki.AddSignature(program, signature); err != nil {
			return fmt.Errorf("sign %s: %w", report.File, err)
		}
		report.Signer = s.chain[0].Subject.String()
	}
	return save(u, program, report)
}

func save(u *ui, program []byte, report ukiReport) error {
	if err := u.writeOutputBytes(report.File, program); err != nil {
		return err
	}
	report.Size = len(program)
	return u.result(report, report.String())
}

type ukiSignOptions struct {
	secureBoot           secureBoot
	toBeSigned, add, out string
	remove, replace      bool
}

const ukiSignLong = `Sign signs an EFI program for Secure Boot: a UKI, an addon, a boot loader or a kernel.
Existing signatures stay, unless --replace is given; --remove removes them all. Firmware
needs one signature that it trusts.

If the private key is in a safe or in hardware, --to-be-signed writes the 78 bytes to be
signed there, with RSA (PKCS #1 v1.5) and SHA-256. The result, either the bare signature
or PKCS #7 as made by sbsign --detached, is checked and added with --add-signature. It
covers the digest that mkimage uki inspect shows.

The same program and key give the same bytes: there is no time in the signature.`

func newUKISign(u *ui) *cobra.Command {
	var o ukiSignOptions
	cmd := &cobra.Command{
		Use:   "sign --sb-key FILE --sb-cert FILE --output FILE PROGRAM",
		Short: "sign an EFI program for Secure Boot, here or elsewhere",
		Long:  ukiSignLong,
		Example: `  mkimage uki sign --sb-key db.key --sb-cert db.crt --output signed.efi linux.efi

  mkimage uki sign --to-be-signed tbs linux.efi
  openssl dgst -sha256 -sign db.key -out signature tbs
  mkimage uki sign --add-signature signature --sb-cert db.crt --output signed.efi linux.efi

  mkimage uki sign --remove --output plain.efi linux.efi`,
		Args:        usageArgs(cobra.ExactArgs(1)),
		Annotations: map[string]string{ownCheck: "true"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return o.run(cmd, u, args[0])
		},
	}
	f := cmd.Flags()
	o.secureBoot.flags(cmd)
	f.StringVar(&o.toBeSigned, "to-be-signed", "", "write the bytes to be signed elsewhere to `FILE`")
	f.StringVar(&o.add, "add-signature", "", "add the signature in `FILE`, which was made elsewhere")
	f.BoolVar(&o.remove, "remove", false, "remove all signatures")
	f.BoolVar(&o.replace, "replace", false, "remove all signatures before adding the new one")
	f.StringVarP(&o.out, "output", "o", "", "write the program to `FILE`; it may be the program itself")
	return cmd
}

// check refuses what can't be meant.
func (o *ukiSignOptions) check(cmd *cobra.Command) error {
	ways := 0
	for _, way := range []string{o.toBeSigned, o.add, o.secureBoot.key} {
		if way != "" {
			ways++
		}
	}
	if o.remove {
		ways++
	}
	if ways != 1 {
		return usagef(cmd, "uki sign needs one of --sb-key, --to-be-signed, --add-signature and --remove")
	}
	if o.replace && (o.remove || o.toBeSigned != "") {
		return usagef(cmd, "--replace wants a new signature, by --sb-key or --add-signature")
	}
	if o.toBeSigned == "" && o.out == "" {
		return usagef(cmd, "uki sign needs --output; it may be the program itself")
	}
	return nil
}

func (o *ukiSignOptions) run(cmd *cobra.Command, u *ui, name string) error {
	if err := checkOutputs(o.out, o.toBeSigned); err != nil {
		return err
	}
	var signer *programSigner
	if o.secureBoot.key != "" {
		var err error
		if signer, err = o.secureBoot.open(cmd); err != nil {
			return err
		}
	}
	program, err := o.program(name)
	if err != nil {
		return err
	}
	digest, err := uki.Digest(program)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	report := ukiReport{File: o.out, Authenticode: hex.EncodeToString(digest[:])}
	switch {
	case o.secureBoot.key != "":
		return signer.save(u, program, report)
	case o.remove:
		return save(u, program, report)
	case o.toBeSigned != "":
		text, err := secureboot.ToBeSigned(digest)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		report.File = o.toBeSigned
		return save(u, text, report)
	}
	signature, by, err := o.signature(cmd, digest)
	if err != nil {
		return err
	}
	if program, err = uki.AddSignature(program, signature); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	report.Signer = by
	return save(u, program, report)
}

// program reads the program that is to be signed, without the signatures that it has if
// they are to go.
func (o *ukiSignOptions) program(name string) ([]byte, error) {
	program, err := readSmall(name, maxPart)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	kind := filekind.Of(program[:min(len(program), filekind.HeadSize)])
	if kind != filekind.EFI && kind != filekind.Unknown {
		return nil, &filekind.Error{Path: name, Found: kind, Want: "an EFI program"}
	}
	if _, err := uki.Digest(program); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.remove || o.replace {
		if program, err = uki.RemoveSignatures(program); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return program, nil
	}
	if _, err := uki.Signatures(program); err != nil {
		return nil, fmt.Errorf("%s: read the signatures that it has: %w; take them away with --replace or --remove", name, err)
	}
	return program, nil
}

// signature reads the signature that was made elsewhere, PKCS #7 or bare, and
// returns it as PKCS #7. It must be for this program and by the certificate,
// if there is one; whom firmware trusts isn't known here.
func (o *ukiSignOptions) signature(cmd *cobra.Command, digest secureboot.Digest) (der []byte, signer string, err error) {
	der, err = readSmall(o.add, secureboot.MaxFile)
	if err != nil {
		return nil, "", err
	}
	var chain []*x509.Certificate
	if o.secureBoot.cert != "" {
		if chain, err = readCertificates(o.secureBoot.cert); err != nil {
			return nil, "", err
		}
	}
	s, err := secureboot.Parse(der)
	if err != nil && chain == nil {
		return nil, "", usagef(cmd, "%s is not PKCS #7 (%w); for a bare signature give the certificate of its key with --sb-cert", o.add, err)
	}
	if err != nil {
		if der, err = secureboot.Wrap(digest, der, chain); err != nil {
			return nil, "", fmt.Errorf("%w: %s: %w", errRefused, o.add, err)
		}
		return der, chain[0].Subject.String(), nil
	}
	if chain == nil {
		chain = s.Certificates
	}
	anchor, err := s.Verify(digest, chain)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", errRefused, o.add, err)
	}
	return der, anchor.Subject.String(), nil
}
