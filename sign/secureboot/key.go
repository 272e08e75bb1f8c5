package secureboot

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Limits on what is taken for a key or a certificate.
const (
	MaxFile = 1 << 16 // bytes of a file of keys or certificates

	minBits  = 2048 // what firmware must accept
	maxBits  = 8192 // more takes long enough to check to be an attack
	maxChain = 8    // certificates from the signer to one that is trusted
)

// ErrKey is the cause when a key or certificate can't be used for Secure Boot.
var ErrKey = errors.New("not a key for Secure Boot")

// ErrEncrypted is an ErrKey: this package doesn't decrypt private keys. Another program can
// sign what ToBeSigned returns.
var ErrEncrypted = fmt.Errorf("%w: the private key is encrypted", ErrKey)

// ParseCertificates reads certificates: several in PEM, or one in DER. The first is the
// signer's; any others lead from it to a certificate in the firmware's db.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if block, _ := pem.Decode(data); block == nil {
		cert, err := parseCertificate(data)
		if err != nil {
			return nil, err
		}
		return []*x509.Certificate{cert}, nil
	}
	var out []*x509.Certificate
	for rest := data; len(out) <= maxChain; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := parseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	if len(out) == 0 || len(out) > maxChain {
		return nil, fmt.Errorf(`%w: want 1 to %d blocks "BEGIN CERTIFICATE", found %d`, ErrKey, maxChain, len(out))
	}
	return out, nil
}

func parseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: want an X.509 certificate in PEM or DER: %w", ErrKey, err)
	}
	return cert, checkPublic(cert)
}

// checkPublic refuses keys that firmware can't use.
func checkPublic(cert *x509.Certificate) error {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("%w: the certificate of %q has a key of type %s, and firmware is only sure to know RSA", ErrKey, cert.Subject, cert.PublicKeyAlgorithm)
	}
	if n := key.N.BitLen(); n < minBits || n > maxBits {
		return fmt.Errorf("%w: the certificate of %q has an RSA key of %d bits, want %d to %d", ErrKey, cert.Subject, n, minBits, maxBits)
	}
	return nil
}

// ParseKey reads an RSA private key: PEM or DER, PKCS #8 or PKCS #1. In PEM, other blocks
// before it, such as its certificate, are skipped.
func ParseKey(data []byte) (crypto.Signer, error) {
	if block, _ := pem.Decode(data); block != nil {
		var err error
		if data, err = privateBlock(data); err != nil {
			return nil, err
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(data); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(data); err == nil {
		return nil, notRSA(key)
	}
	key, err := x509.ParsePKCS8PrivateKey(data)
	if err != nil {
		if _, err := x509.ParseCertificate(data); err == nil {
			return nil, fmt.Errorf("%w: want a private key, found a certificate", ErrKey)
		}
		return nil, fmt.Errorf("%w: want a private key as openssl writes it, PEM or DER: %w", ErrKey, err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, notRSA(key)
	}
	return rsaKey, nil
}

// privateBlock returns the first private key of a PEM file.
func privateBlock(data []byte) ([]byte, error) {
	var found []string
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%w: want a private key, found %.100q and nothing else", ErrKey, strings.Join(found, ", "))
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, ErrEncrypted
		case block.Type == "OPENSSH PRIVATE KEY":
			return nil, fmt.Errorf("%w: it is a key of ssh: want one as openssl writes it", ErrKey)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return block.Bytes, nil
		}
		if len(found) < maxChain {
			found = append(found, block.Type)
		}
	}
}

// notRSA says which kind of key it is instead.
func notRSA(key any) error {
	kind := fmt.Sprintf("%T", key)
	switch key.(type) {
	case *ecdsa.PrivateKey:
		kind = "one for elliptic curves (ECDSA)"
	case ed25519.PrivateKey:
		kind = "one for Ed25519"
	}
	return fmt.Errorf("%w: want an RSA private key, found %s; firmware is only sure to know RSA", ErrKey, kind)
}
