package secureboot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/foxboron/go-uefi/authenticode"
	"github.com/foxboron/go-uefi/pkcs7"
)

// maxSignature bounds a signature in bytes; they have some 2 KB.
const maxSignature = 1 << 18

// The causes when a signature is refused.
var (
	ErrFormat    = errors.New("not a signature for Secure Boot")
	ErrDigest    = errors.New("signature of another program")
	ErrUntrusted = errors.New("not signed by a trusted certificate")
	ErrSignature = errors.New("bad signature")
	ErrUnsigned  = errors.New("not signed")
)

// A Signature is one that a program carries, parsed. Nothing in it can be trusted until
// Verify has succeeded.
type Signature struct {
	Program      Digest              // what it claims to sign
	Certificates []*x509.Certificate // that it carries

	issuer     []byte // DER
	serial     *big.Int
	attributes []byte // DER, as signed
	raw        []byte
}

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Parse reads a signature: PKCS #7, in DER. Zeros may follow.
func Parse(der []byte) (*Signature, error) {
	if len(der) > maxSignature {
		return nil, formatError("it has %d bytes, want at most %d", len(der), maxSignature)
	}
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
		return nil, formatError("want one DER structure, found %d bytes that are something else or end with it", len(der))
	}
	a, err := authenticode.ParseAuthenticode(outer.FullBytes)
	if err != nil {
		return nil, formatError("read PKCS #7: %v", err)
	}
	s := &Signature{Certificates: a.Pkcs.Certs}
	if len(a.Digest) != len(s.Program) || !a.Algid.Algorithm.Equal(pkcs7.OIDDigestAlgorithmSHA256) {
		return nil, formatError("want a SHA-256 digest of the program, found %d bytes by the algorithm %s", len(a.Digest), a.Algid.Algorithm)
	}
	copy(s.Program[:], a.Digest)
	for _, c := range s.Certificates {
		if err := checkPublic(c); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	if len(s.Certificates) > maxChain {
		return nil, formatError("it carries %d certificates, want at most %d", len(s.Certificates), maxChain)
	}
	return s, s.readSigner(a.Pkcs)
}

// readSigner takes over the signer, and checks that what he signed is about the
// content: the library doesn't.
func (s *Signature) readSigner(p *pkcs7.PKCS7) error {
	if len(p.SignerInfo) != 1 {
		return formatError("it has %d signers, want 1", len(p.SignerInfo))
	}
	info := p.SignerInfo[0]
	if !info.DigestAlgorithm.Algorithm.Equal(pkcs7.OIDDigestAlgorithmSHA256) {
		return formatError("the signer used the digest algorithm %s, want SHA-256", info.DigestAlgorithm.Algorithm)
	}
	attributes := info.AuthenticatedAttributes
	if attributes == nil {
		return formatError("it has no signed attributes")
	}
	var content asn1.RawValue
	if rest, err := asn1.Unmarshal(p.ContentInfo, &content); err != nil || len(rest) > 0 {
		return formatError("its content is more than one DER structure")
	}
	sum := sha256.Sum256(content.Bytes)
	if !attributes.ContentType.Equal(authenticode.OIDSpcIndirectDataContent) || !bytes.Equal(attributes.MessageDigest, sum[:]) {
		return formatError("its signed attributes are about another content")
	}
	s.issuer, s.serial = info.IssuerAndSerialnumber.RawIssuer, info.IssuerAndSerialnumber.SerialNumber
	s.attributes, s.raw = attributes.RawBytes, info.EncryptedDigest
	return nil
}

// Signer returns the certificate that the signature claims to be by, nil if it doesn't
// carry it.
func (s *Signature) Signer() *x509.Certificate { return s.named(s.Certificates) }

// named returns the certificate that the signer is named by.
func (s *Signature) named(certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if bytes.Equal(c.RawIssuer, s.issuer) && c.SerialNumber.Cmp(s.serial) == 0 {
			return c
		}
	}
	return nil
}

// Verify checks that the signature is for the program, and by a trusted certificate or by
// one that a trusted certificate vouches for. It returns that trusted certificate.
func (s *Signature) Verify(program Digest, trusted []*x509.Certificate) (*x509.Certificate, error) {
	if s.Program != program {
		return nil, fmt.Errorf("%w: want the digest %x, found %x; it was changed after signing, or the signature is not its own", ErrDigest, program, s.Program)
	}
	signer := s.named(trusted)
	if signer == nil {
		signer = s.Signer()
	}
	if signer == nil {
		return nil, fmt.Errorf("%w: it carries no certificate of its signer, and none that is trusted has the serial number %x", ErrUntrusted, s.serial)
	}
	if err := signer.CheckSignature(x509.SHA256WithRSA, s.attributes, s.raw); err != nil {
		return nil, fmt.Errorf("%w: it names the certificate of %q: %w", ErrSignature, signer.Subject, err)
	}
	if root := s.anchor(signer, trusted); root != nil {
		return root, nil
	}
	return nil, fmt.Errorf("%w: it is signed by %q, and none of the given certificates vouches for it", ErrUntrusted, signer.Subject)
}

// anchor returns the first trusted certificate to which a path leads from the signer's, nil
// if there is none.
func (s *Signature) anchor(signer *x509.Certificate, trusted []*x509.Certificate) *x509.Certificate {
	for _, t := range trusted {
		if path := s.path(signer, t); path != nil && isSound(path) {
			return t
		}
	}
	return nil
}

// path returns the certificates from the signer's to a trusted one, nil if it doesn't get
// there. Firmware tries each certificate of db by itself, with OpenSSL, which takes the first
// that may be the issuer and never goes back to try another one. So what it would take for a
// wrong turn is one here too: a path that firmware doesn't find mustn't be found.
func (s *Signature) path(signer, trusted *x509.Certificate) []*x509.Certificate {
	path := []*x509.Certificate{signer}
	for len(path) <= maxChain {
		last := path[len(path)-1]
		switch {
		case last.Equal(trusted):
			return path
		case mayIssue(trusted, last):
			return append(path, trusted)
		case mayIssue(last, last):
			return nil // the end of another path
		}
		next := slices.IndexFunc(s.Certificates, func(c *x509.Certificate) bool {
			return mayIssue(c, last) && !slices.ContainsFunc(path, c.Equal)
		})
		if next < 0 {
			return nil
		}
		path = append(path, s.Certificates[next])
	}
	return nil
}

// mayIssue reports whether OpenSSL takes a certificate for the issuer of another one, before
// it checks any signature.
//
// Source: X509_check_issued(3).
func mayIssue(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) &&
		(len(issuer.SubjectKeyId) == 0 || len(cert.AuthorityKeyId) == 0 || bytes.Equal(issuer.SubjectKeyId, cert.AuthorityKeyId)) &&
		(issuer.KeyUsage == 0 || issuer.KeyUsage&x509.KeyUsageCertSign != 0)
}

// isSound checks a path. As for firmware, neither times nor purposes count.
func isSound(path []*x509.Certificate) bool {
	between := 0 // certificates between the signer's and the current one that aren't by themselves
	for i, cert := range path {
		limited := cert.BasicConstraintsValid && (cert.MaxPathLen > 0 || cert.MaxPathLenZero)
		switch {
		case hasUnknown(cert):
			return false
		case i == 0:
			continue
		case path[i-1].CheckSignatureFrom(cert) != nil, limited && between > cert.MaxPathLen:
			return false
		}
		if !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			between++
		}
	}
	return true
}

// hasUnknown reports whether a certificate has a critical extension that OpenSSL doesn't
// know.
func hasUnknown(cert *x509.Certificate) bool {
	return slices.ContainsFunc(cert.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool {
		return !slices.ContainsFunc(alsoKnown, id.Equal)
	})
}

// alsoKnown are extensions that OpenSSL knows and Go doesn't, or not in each version:
// policy constraints, mappings and inhibitAnyPolicy, proxyCertInfo and Netscape's type.
//
// Source: X509_supported_extension(3).
var alsoKnown = []asn1.ObjectIdentifier{
	{2, 5, 29, 36}, {2, 5, 29, 33}, {2, 5, 29, 54}, {1, 3, 6, 1, 5, 5, 7, 1, 14}, {2, 16, 840, 1, 113730, 1, 1},
}

// Verify checks the signatures that a program carries. As for firmware, one valid signature
// by a trusted certificate is enough; otherwise the error describes all of them.
func Verify(program Digest, signatures [][]byte, trusted []*x509.Certificate) (signer, anchor *x509.Certificate, err error) {
	if len(signatures) == 0 {
		return nil, nil, ErrUnsigned
	}
	var errs []error
	for _, der := range signatures {
		s, err := Parse(der)
		if err == nil {
			if anchor, err = s.Verify(program, trusted); err == nil {
				if signer = s.named(trusted); signer == nil {
					signer = s.Signer()
				}
				return signer, anchor, nil
			}
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}
