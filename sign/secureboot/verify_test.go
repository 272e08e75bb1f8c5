package secureboot_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/foxboron/go-uefi/authenticode"
	"github.com/foxboron/go-uefi/pkcs7"

	"github.com/composefs-go/composefs/sign/secureboot"
)

// Each way in which a signature is of no worth has its error.
func TestVerifyRefuses(t *testing.T) {
	ours, other := secureboot.Digest{1}, secureboot.Digest{2}
	good := signature(t, ours, "db.key", "db.crt")
	changed := func(old, new []byte) []byte {
		if bytes.Count(good, old) == 0 {
			t.Fatalf("the signature has no %x", old)
		}
		return bytes.ReplaceAll(good, old, new)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for _, test := range []struct {
		name       string
		signatures [][]byte
		trusted    string
		want       error
		says       string
	}{
		{"none", nil, "db.crt", secureboot.ErrUnsigned, "not signed"},
		{"by another", [][]byte{good}, "ca.crt", secureboot.ErrUntrusted, `"CN=test db"`},
		{"of another program", [][]byte{signature(t, other, "db.key", "db.crt")}, "db.crt", secureboot.ErrDigest, "02000000"},
		{"damaged", [][]byte{flipped}, "db.crt", secureboot.ErrSignature, "test db"},
		// The attack: the digest in the content isn't what the key signed.
		{"digest replaced", [][]byte{changed(octets(ours), octets(other))}, "db.crt", secureboot.ErrFormat, "another content"},
		{"two signers", [][]byte{signers(t, good, 2)}, "db.crt", secureboot.ErrFormat, "2 signers"},
		{"no signer", [][]byte{signers(t, good, 0)}, "db.crt", secureboot.ErrFormat, "0 signers"},
		{"two contents", [][]byte{twice(t, good)}, "db.crt", secureboot.ErrFormat, "more than one DER structure"},
		{"empty", [][]byte{{}}, "db.crt", secureboot.ErrFormat, "one DER structure"},
		{"text", [][]byte{[]byte("hello")}, "db.crt", secureboot.ErrFormat, "one DER structure"},
		{"cut", [][]byte{good[:len(good)-9]}, "db.crt", secureboot.ErrFormat, "one DER structure"},
		{"something behind it", [][]byte{append(bytes.Clone(good), 1)}, "db.crt", secureboot.ErrFormat, "end with it"},
		{"huge", [][]byte{make([]byte, 1<<20)}, "db.crt", secureboot.ErrFormat, "at most"},
		{"other content type", [][]byte{changed([]byte{0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4}, []byte{0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 5})}, "db.crt", secureboot.ErrFormat, "PKCS #7"},
		{"SHA-384 by the signer", [][]byte{lastReplaced(good, []byte{0x86, 0x48, 1, 0x65, 3, 4, 2, 1}, []byte{0x86, 0x48, 1, 0x65, 3, 4, 2, 2})}, "db.crt", secureboot.ErrFormat, "signer used the digest algorithm"},
		{"SHA-384", [][]byte{changed([]byte{0x86, 0x48, 1, 0x65, 3, 4, 2, 1}, []byte{0x86, 0x48, 1, 0x65, 3, 4, 2, 2})}, "db.crt", secureboot.ErrFormat, "SHA-256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			digest := ours
			if test.name == "digest replaced" {
				digest = other
			}
			_, _, err := secureboot.Verify(digest, test.signatures, certs(t, test.trusted))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", test.want, test.says, err)
			}
		})
	}
}

// lastReplaced is bytes.Replace of the last that there is.
func lastReplaced(b, old, new []byte) []byte {
	i := bytes.LastIndex(b, old)
	return slices.Concat(b[:i], new, b[i+len(old):])
}

// parts is SignedData.
type parts struct {
	Version                             int
	Algorithms, Content, Certs, Signers asn1.RawValue
}

// info is ContentInfo.
type info struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue
}

func tagged(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
}

// rebuilt takes a signature apart, changes it and puts it together again.
func rebuilt(t *testing.T, der []byte, change func(*parts)) []byte {
	t.Helper()
	var outer info
	var p parts
	unmarshal(t, der, &outer)
	unmarshal(t, outer.Content.Bytes, &p)
	change(&p)
	return marshal(t, info{outer.Type, tagged(marshal(t, p))})
}

func unmarshal(t *testing.T, der []byte, v any) {
	t.Helper()
	if _, err := asn1.Unmarshal(der, v); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// signers returns the signature with its signer n times.
func signers(t *testing.T, der []byte, n int) []byte {
	return rebuilt(t, der, func(p *parts) {
		p.Signers = asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Repeat(p.Signers.Bytes, n)}
	})
}

// twice returns the signature with its content and then another.
func twice(t *testing.T, der []byte) []byte {
	return rebuilt(t, der, func(p *parts) {
		var content info
		unmarshal(t, p.Content.FullBytes, &content)
		content.Content = tagged(slices.Concat(content.Content.Bytes, []byte{5, 0}))
		p.Content = asn1.RawValue{FullBytes: marshal(t, content)}
	})
}

// Two certificates that issued each other lead nowhere, and not for ever.
func TestChainInACircle(t *testing.T) {
	issue := func(subject, issuer, subjectKey, issuerKey string, serial int64) *x509.Certificate {
		template := func(name string) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
		}
		der, err := x509.CreateCertificate(rand.Reader, template(subject), template(issuer), key(t, subjectKey).Public(), key(t, issuerKey))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	circle := []*x509.Certificate{issue("a", "b", "db.key", "leaf.key", 1), issue("b", "a", "leaf.key", "db.key", 2)}
	d := secureboot.Digest{1}
	der, err := secureboot.Sign(d, key(t, "db.key"), circle)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := secureboot.Verify(d, [][]byte{der}, certs(t, "ca.crt")); !errors.Is(err, secureboot.ErrUntrusted) {
		t.Errorf("want %q, found %v", secureboot.ErrUntrusted, err)
	}
}

// octets is how a digest stands in the content: an OCTET STRING of 32 bytes.
func octets(d secureboot.Digest) []byte { return append([]byte{4, 32}, d[:]...) }

// Signatures of other makers that leave out what ties them to the program, or to
// their signer.
func TestVerifyRefusesOtherMakers(t *testing.T) {
	content := []byte("program")
	digest := secureboot.Digest(sha256.Sum256(content))
	nine := slices.Repeat(certs(t, "db.crt"), 8)
	for _, test := range []struct {
		name   string
		option pkcs7.Option
		want   error
		says   string
	}{
		{"no signed attributes", pkcs7.NoAttr(), secureboot.ErrFormat, "no signed attributes"},
		{"no certificates", pkcs7.NoCerts(), secureboot.ErrUntrusted, "carries no certificate"},
		{"nine certificates", pkcs7.WithAdditionalCerts(nine), secureboot.ErrFormat, "at most 8"},
		{"certificate of a small key", pkcs7.WithAdditionalCerts([]*x509.Certificate{small(t)}), secureboot.ErrFormat, "1024 bits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			der, err := authenticode.SignAuthenticode(key(t, "db.key"), certs(t, "db.crt")[0], bytes.NewReader(content), crypto.SHA256, test.option)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = secureboot.Verify(digest, [][]byte{der}, certs(t, "ca.crt"))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", test.want, test.says, err)
			}
		})
	}
	der, err := authenticode.SignAuthenticode(key(t, "db.key"), certs(t, "db.crt")[0], bytes.NewReader(content), crypto.SHA256, pkcs7.NoCerts())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := secureboot.Verify(digest, [][]byte{der}, certs(t, "db.crt")); err != nil {
		t.Errorf("a trusted signer needn't be carried along: %v", err)
	}
}

// small returns a certificate that ParseCertificates refuses.
func small(t *testing.T) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(read(t, "testdata/small.crt"))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// One good signature among bad ones is enough, as for firmware.
func TestVerifyOneOfSeveral(t *testing.T) {
	d := secureboot.Digest{1}
	good, bad := signature(t, d, "db.key", "db.crt"), signature(t, d, "leaf.key", "leaf-chain.crt")
	signer, anchor, err := secureboot.Verify(d, [][]byte{bad, []byte("?"), append(good, 0, 0, 0)}, certs(t, "db.crt"))
	if err != nil || signer.Subject.CommonName != "test db" || !anchor.Equal(signer) {
		t.Errorf("found signer %v, error %v", signer, err)
	}
}

// Keys that firmware can't use are refused before anything is signed with them.
func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, file, says string }{
		{"elliptic curve", "ec.crt", "RSA"},
		{"too few bits", "small.crt", "1024 bits"},
		{"a key instead", "db.key", "found 0"},
	} {
		t.Run("certificate, "+test.name, func(t *testing.T) {
			_, err := secureboot.ParseCertificates(read(t, "testdata/"+test.file))
			if !errors.Is(err, secureboot.ErrKey) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", secureboot.ErrKey, test.says, err)
			}
		})
	}
	for _, test := range []struct{ name, file, says string }{
		{"elliptic curve", "ec.key", "want an RSA private key, found one for elliptic curves (ECDSA); firmware is only sure to know RSA"},
		{"encrypted", "encrypted.key", secureboot.ErrEncrypted.Error()},
		{"a certificate instead", "db.crt", `want a private key, found "CERTIFICATE" and nothing else`},
	} {
		t.Run("key, "+test.name, func(t *testing.T) {
			_, err := secureboot.ParseKey(read(t, "testdata/"+test.file))
			if !errors.Is(err, secureboot.ErrKey) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", secureboot.ErrKey, test.says, err)
			}
		})
	}
	if _, err := secureboot.ParseKey([]byte("hello")); !errors.Is(err, secureboot.ErrKey) {
		t.Errorf("text: want %q, found %v", secureboot.ErrKey, err)
	}
	if _, err := secureboot.ParseCertificates([]byte("hello")); !errors.Is(err, secureboot.ErrKey) {
		t.Errorf("text: want %q, found %v", secureboot.ErrKey, err)
	}
	many := bytes.Repeat(read(t, "testdata/db.crt"), 9)
	if _, err := secureboot.ParseCertificates(many); !errors.Is(err, secureboot.ErrKey) {
		t.Errorf("nine certificates: want %q, found %v", secureboot.ErrKey, err)
	}
}

// What openssl and ssh-keygen write when they aren't told to write PKCS #8.
func TestOtherKindsOfKeysAreNamed(t *testing.T) {
	block, _ := pem.Decode(read(t, "testdata/ec.key"))
	ec, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	certificate, _ := pem.Decode(read(t, "testdata/db.crt"))
	text := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, test := range []struct {
		name string
		key  []byte
		says string
	}{
		{"openssl ecparam -genkey", append(text("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), text("EC PRIVATE KEY", sec1)...), "found one for elliptic curves (ECDSA)"},
		{"the same in DER", sec1, "found one for elliptic curves (ECDSA)"},
		{"Ed25519", text("PRIVATE KEY", edwards), "found one for Ed25519"},
		{"ssh-keygen", text("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), "it is a key of ssh: want one as openssl writes it"},
		{"a public key", text("PUBLIC KEY", nil), `found "PUBLIC KEY" and nothing else`},
		{"a certificate in DER", certificate.Bytes, "want a private key, found a certificate"},
	} {
		if _, err := secureboot.ParseKey(test.key); !errors.Is(err, secureboot.ErrKey) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: want %q, found %v", test.name, test.says, err)
		}
	}
	both := append(read(t, "testdata/db.crt"), read(t, "testdata/db.key")...)
	if k, err := secureboot.ParseKey(both); err != nil || !key(t, "db.key").(*rsa.PrivateKey).Equal(k) {
		t.Errorf("a certificate before its key: %v", err)
	}
}

// Keys and certificates may be in DER, and keys in the format of old.
func TestParseForms(t *testing.T) {
	block, _ := pem.Decode(read(t, "testdata/db.crt"))
	if c, err := secureboot.ParseCertificates(block.Bytes); err != nil || !c[0].Equal(certs(t, "db.crt")[0]) {
		t.Errorf("certificate in DER: %v", err)
	}
	block, _ = pem.Decode(read(t, "testdata/db.key"))
	old := x509.MarshalPKCS1PrivateKey(key(t, "db.key").(*rsa.PrivateKey))
	for name, form := range map[string][]byte{
		"PKCS #8, DER": block.Bytes, "PKCS #1, DER": old, "PKCS #1, PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: old}),
	} {
		k, err := secureboot.ParseKey(form)
		if err != nil || !key(t, "db.key").(*rsa.PrivateKey).Equal(k) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is made of good signatures, none is a signature of another program:
// the fuzzer has no key.
func FuzzVerify(f *testing.F) {
	program := sha256.Sum256([]byte("program"))
	f.Add(signature(f, program, "db.key", "db.crt"))
	f.Add(signature(f, program, "leaf.key", "leaf-chain.crt"))
	f.Add(read(f, "testdata/sbsign.p7"))
	trusted := append(certs(f, "db.crt"), certs(f, "ca.crt")...)
	stubbed := read(f, "testdata/sbsign.p7")
	known, err := secureboot.Parse(stubbed)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		s, err := secureboot.Parse(der)
		if err != nil {
			return
		}
		s.Signer()
		if _, err := s.Verify(s.Program, trusted); err == nil && s.Program != program && s.Program != known.Program {
			t.Fatalf("a signature of %x was forged", s.Program)
		}
	})
}
