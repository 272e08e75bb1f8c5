// Package secureboot makes and verifies the signatures of EFI programs that
// firmware requires under Secure Boot: Authenticode, in the one variant that Secure
// Boot uses.
//
//	ContentInfo (PKCS #7 SignedData, DER)
//	├─ SpcIndirectDataContent ── SHA-256 of the program (bootcfg/uki.Digest)
//	├─ certificates ──────────── the signer's, and those between it and a db key
//	└─ SignerInfo
//	   ├─ issuer and serial number of the signer's certificate
//	   ├─ attributes ─────────── SHA-256 of SpcIndirectDataContent   ◀─┐
//	   └─ RSA PKCS #1 v1.5 signature with SHA-256 of the attributes  ──┘
//
// The attributes are what the private key signs. They contain only the digest and
// no time, so the same program and key give the same signature, and a key in a safe
// or in hardware can sign them without this package (see ToBeSigned).
//
// Signing and parsing use github.com/foxboron/go-uefi. Its verification is not
// used: it doesn't compare the signed attributes with the content, so a good
// signature of one program would pass for any other, and its reader of programs
// trusts their headers.
//
// Firmware accepts everything that Verify accepts, if that certificate is in db and
// none of the others involved is in dbx. Validity periods are ignored, as firmware
// ignores them: its clock can be set by anyone.
package secureboot
