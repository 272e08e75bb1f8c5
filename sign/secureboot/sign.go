package secureboot

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/foxboron/go-uefi/authenticode"
	"github.com/foxboron/go-uefi/pkcs7"
)

// Digest is the Authenticode SHA-256 of a program, from bootcfg/uki.Digest.
type Digest = [sha256.Size]byte

// The structures of PKCS #7, RFC 2315.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue // [0] EXPLICIT
	}
	signedData struct {
		Version          int
		DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
		Content          contentInfo
		Certificates     asn1.RawValue // [0] IMPLICIT SET
		Signers          []signerInfo  `asn1:"set"`
	}
	signerInfo struct {
		Version         int
		Issuer          issuerAndSerial
		DigestAlgorithm pkix.AlgorithmIdentifier
		Attributes      asn1.RawValue // [0] IMPLICIT SET
		Encryption      pkix.AlgorithmIdentifier
		Signature       []byte
	}
	issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
)

// ToBeSigned returns the bytes that the private key signs for a program, with RSA, PKCS #1
// v1.5, and SHA-256. To sign them elsewhere:
//
//	openssl dgst -sha256 -sign db.key -out SIGNATURE TO-BE-SIGNED
func ToBeSigned(program Digest) ([]byte, error) {
	_, attributes, err := prepare(program)
	return attributes, err
}

// prepare returns SpcIndirectDataContent without its outermost tag, and the
// attributes, a SET, that stand for it.
func prepare(program Digest) (content, attributes []byte, err error) {
	content, err = authenticode.CreateSpcIndirectDataContent(program[:], crypto.SHA256)
	sum := sha256.Sum256(content)
	a := pkcs7.Attributes{ContentType: authenticode.OIDSpcIndirectDataContent, MessageDigest: sum[:]}
	return content, a.Marshal(), err
}

// Sign makes the signature of a program: PKCS #7, in DER. The first certificate must be the
// key's; the others are included. The same input gives the same bytes.
func Sign(program Digest, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	text, err := ToBeSigned(program)
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && len(chain) > 0 && !public.Equal(chain[0].PublicKey) {
		return nil, fmt.Errorf("%w: the private key isn't the one of the certificate %q", ErrKey, chain[0].Subject)
	}
	sum := sha256.Sum256(text)
	raw, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return Wrap(program, raw, chain)
}

// Wrap makes the signature of a program, as Sign does, from a raw RSA signature of its
// ToBeSigned that was made elsewhere. It verifies that one first.
func Wrap(program Digest, raw []byte, chain []*x509.Certificate) ([]byte, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: want the certificate of the key that signed, found none", ErrKey)
	}
	signer := chain[0]
	if err := checkPublic(signer); err != nil {
		return nil, err
	}
	content, attributes, err := prepare(program)
	if err != nil {
		return nil, err
	}
	if err := signer.CheckSignature(x509.SHA256WithRSA, attributes, raw); err != nil {
		return nil, fmt.Errorf("%w: want one by the key of the certificate %q for this program, found %d bytes that are none: %w", ErrSignature, signer.Subject, len(raw), err)
	}
	return marshal(content, attributes, raw, chain)
}

// marshal writes the PKCS #7 structure around the parts that matter.
func marshal(content, attributes, raw []byte, chain []*x509.Certificate) ([]byte, error) {
	var certificates []byte
	for _, c := range chain {
		certificates = append(certificates, c.Raw...)
	}
	outer, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
	if err != nil {
		return nil, err
	}
	// In the structure the SET has another tag, of one byte too.
	set := asn1.RawValue{FullBytes: append([]byte{0xa0}, attributes[1:]...)}
	sha := pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDDigestAlgorithmSHA256, Parameters: asn1.NullRawValue}
	signed, err := asn1.Marshal(signedData{
		Version:          1,
		DigestAlgorithms: []pkix.AlgorithmIdentifier{sha},
		Content:          contentInfo{authenticode.OIDSpcIndirectDataContent, tag0(outer)},
		Certificates:     tag0(certificates),
		Signers: []signerInfo{{
			Version:         1,
			Issuer:          issuerAndSerial{asn1.RawValue{FullBytes: chain[0].RawIssuer}, chain[0].SerialNumber},
			DigestAlgorithm: sha,
			Attributes:      set,
			Encryption:      pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDEncryptionAlgorithmRSA, Parameters: asn1.NullRawValue},
			Signature:       raw,
		}},
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(contentInfo{pkcs7.OIDSignedData, tag0(signed)})
}

func tag0(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: content}
}
