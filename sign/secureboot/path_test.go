package secureboot_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// An authority makes certificates.
type authority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newKeyPair(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate of a key. Without an issuer it is by itself.
func issue(t *testing.T, issuer *authority, name string, key *rsa.PrivateKey, change func(*x509.Certificate)) *authority {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(1<<32, 0),
	}
	if change != nil {
		change(template)
	}
	parent, by := template, key
	if issuer != nil {
		parent, by = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

func noCA(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }

// OpenSSL, which firmware decides with, is the judge: the answers are the same.
func TestAPathToATrustedCertificateIsOneForOpenSSLToo(t *testing.T) {
	testutil.RequireTool(t, "openssl")
	rootKey, middleKey, leafKey, otherKey := newKeyPair(t), newKeyPair(t), newKeyPair(t), newKeyPair(t)
	pathLength := func(n int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
	}
	extension := func(critical bool, id ...int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			noCA(c)
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier(id), Critical: critical, Value: []byte{3, 2, 0, 1}}}
		}
	}
	root := issue(t, nil, "root", rootKey, nil)
	other := issue(t, nil, "other", otherKey, nil)
	middle := issue(t, root, "middle", middleKey, nil)
	leafOf := func(a *authority, change func(*x509.Certificate)) *authority {
		return issue(t, a, "leaf", leafKey, change)
	}
	leaf := leafOf(middle, noCA)
	short := issue(t, nil, "root", rootKey, pathLength(0))
	long := issue(t, nil, "root", rootKey, pathLength(1))
	crossed := issue(t, other, "middle", middleKey, nil)
	user := issue(t, root, "middle", middleKey, noCA)
	rolled := issue(t, middle, "middle", otherKey, func(c *x509.Certificate) { c.AuthorityKeyId = middle.cert.SubjectKeyId })
	confused := issue(t, middle, "middle", otherKey, nil) // nothing tells that it isn't by itself
	for _, c := range []struct {
		name    string
		trusted *authority
		chain   []*authority
		good    bool
	}{
		{"directly", leaf, []*authority{leaf}, true},
		{"one step", root, []*authority{leafOf(root, noCA)}, true},
		{"two steps", root, []*authority{leaf, middle}, true},
		{"a step is missing", root, []*authority{leaf}, false},
		{"to the middle", middle, []*authority{leaf}, true},
		{"a path too long for the root", short, []*authority{leaf, middle}, false},
		{"a path as long as the root allows", long, []*authority{leaf, middle}, true},
		{"one by itself doesn't count", long, []*authority{leafOf(rolled, noCA), rolled, middle}, true},
		{"one that seems to be by itself", long, []*authority{leafOf(confused, noCA), confused, middle}, false},
		{"a root of another name with the same key", issue(t, nil, "renewed", rootKey, nil), []*authority{leafOf(root, noCA)}, false},
		{"an issuer that is none", root, []*authority{leafOf(user, noCA), user}, false},
		{"an unknown critical extension", root, []*authority{leafOf(root, extension(true, 1, 2, 3, 4))}, false},
		{"an unknown extension", root, []*authority{leafOf(root, extension(false, 1, 2, 3, 4))}, true},
		{"Netscape's type, critical", root, []*authority{leafOf(root, extension(true, 2, 16, 840, 1, 113730, 1, 1))}, true},
		{"a trusted signer with an unknown critical extension", leafOf(root, extension(true, 1, 2, 3, 4)), nil, false},
		{"signed by two, the first trusted", root, []*authority{leaf, middle, crossed}, true},
		{"signed by two, the second trusted", root, []*authority{leaf, crossed, middle}, false},
	} {
		if c.chain == nil {
			c.chain = []*authority{c.trusted}
		}
		var chain []*x509.Certificate
		for _, a := range c.chain {
			chain = append(chain, a.cert)
		}
		signature, err := secureboot.Sign(secureboot.Digest{1}, leafKey, chain)
		if err != nil {
			t.Fatal(c.name, err)
		}
		_, _, err = secureboot.Verify(secureboot.Digest{1}, [][]byte{signature}, []*x509.Certificate{c.trusted.cert})
		if (err == nil) != c.good {
			t.Errorf("%s: found %v", c.name, err)
		}
		if judge := openssl(t, c.trusted.cert, chain); judge != c.good {
			t.Errorf("%s: openssl says %v", c.name, judge)
		}
	}
}

// openssl asks whether a chain leads to a trusted certificate, as EDK2 does.
func openssl(t *testing.T, trusted *x509.Certificate, chain []*x509.Certificate) bool {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, certs ...*x509.Certificate) string {
		var text []byte
		for _, c := range certs {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	args := []string{"verify", "-partial_chain", "-no_check_time", "-purpose", "any", "-no-CAfile", "-no-CApath", "-trusted", write("trusted", trusted)}
	if len(chain) > 1 {
		args = append(args, "-untrusted", write("carried", chain[1:]...))
	}
	return exec.Command("openssl", append(args, write("leaf", chain[0]))...).Run() == nil
}
