// Package secureboot makes and checks the signatures by which firmware knows the
// EFI programs that it may run: Authenticode, in the one variant that Secure Boot
// uses.
//
//	ContentInfo (PKCS #7 SignedData, DER)
//	├─ SpcIndirectDataContent ── SHA-256 of the program (bootcfg/uki.Digest)
//	├─ certificates ──────────── the signer's, and those between it and a db key
//	└─ SignerInfo
//	   ├─ issuer and serial number of the signer's certificate
//	   ├─ attributes ─────────── SHA-256 of SpcIndirectDataContent   ◀─┐
//	   └─ RSA PKCS #1 v1.5 signature with SHA-256 of the attributes  ──┘
//
// The attributes are what the private key signs. They hold nothing but the
// digest, no time: so the same program and key make the same signature, and a key
// that lies in a safe or in hardware signs them without any of this being there
// (see ToBeSigned).
//
// Signing and parsing stand on github.com/foxboron/go-uefi. Its verification is
// not used: it doesn't compare the signed attributes with the content, so that a
// good signature of one program would do for any other, and its reader of programs
// trusts their headers.
//
// What Verify accepts, firmware with that certificate in db and none of the others
// involved in dbx accepts too. Validity periods aren't looked at: firmware, whose
// clock anybody can set, doesn't either.
package secureboot
