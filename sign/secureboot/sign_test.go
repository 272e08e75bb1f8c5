package secureboot_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foxboron/go-uefi/authenticode"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// stub is a program to sign that the machine has: systemd's.
const stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"

// program returns a program and its digest. It has nothing but headers and
// sections, as every UKI: signers disagree about what else there may be.
func program(t testing.TB) ([]byte, secureboot.Digest) {
	t.Helper()
	testutil.RequireFile(t, stub)
	out, err := uki.Build(read(t, stub), []uki.Section{{Name: ".cmdline", Data: []byte("quiet")}})
	if err != nil {
		t.Fatal(err)
	}
	return out, digest(t, out)
}

func digest(t testing.TB, program []byte) secureboot.Digest {
	t.Helper()
	d, err := uki.Digest(program)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func key(t testing.TB, name string) crypto.Signer {
	t.Helper()
	k, err := secureboot.ParseKey(read(t, "testdata/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certs(t testing.TB, name string) []*x509.Certificate {
	t.Helper()
	c, err := secureboot.ParseCertificates(read(t, "testdata/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signature(t testing.TB, d secureboot.Digest, keyName, certNames string) []byte {
	t.Helper()
	s, err := secureboot.Sign(d, key(t, keyName), certs(t, certNames))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signed returns a program with the signature of the test's db key.
func signed(t testing.TB, program []byte) []byte {
	t.Helper()
	out, err := uki.AddSignature(program, signature(t, digest(t, program), "db.key", "db.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", args, err, out)
	}
	return string(out)
}

// verify is Verify of all that a program carries.
func verify(t testing.TB, program []byte, trusted string) error {
	t.Helper()
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = secureboot.Verify(digest(t, program), f.Signatures, certs(t, trusted))
	return err
}

// sbverify accepts what we sign, with one signature and with two, and not its
// tampered twin; neither do we.
func TestSbverifyAgrees(t *testing.T) {
	sbverify := testutil.RequireTool(t, "sbverify")
	plain, _ := program(t)
	once := signed(t, plain)
	other, err := uki.AddSignature(once, signature(t, digest(t, once), "leaf.key", "leaf-chain.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string][]byte{"one signature": once, "two signatures": other} {
		t.Run(name, func(t *testing.T) {
			if digest(t, good) != digest(t, plain) {
				t.Error("signing changed the digest")
			}
			run(t, sbverify, "--cert", "testdata/db.crt", write(t, good))
			if err := verify(t, good, "db.crt"); err != nil {
				t.Errorf("a good signature is refused: %v", err)
			}
			bad := bytes.Replace(good, []byte("quiet"), []byte("debug"), 1)
			if out, err := exec.Command(sbverify, "--cert", "testdata/db.crt", write(t, bad)).CombinedOutput(); err == nil {
				t.Errorf("sbverify accepts a changed command line: %s", out)
			}
			if err := verify(t, bad, "db.crt"); !errors.Is(err, secureboot.ErrDigest) {
				t.Errorf("a changed command line: want %q, found %v", secureboot.ErrDigest, err)
			}
		})
	}
}

// What sbsign makes is accepted: inside the program, and beside it to be added.
func TestSbsignAgrees(t *testing.T) {
	sbsign := testutil.RequireTool(t, "sbsign")
	plain, d := program(t)
	name := write(t, plain)
	args := []string{sbsign, "--key", "testdata/db.key", "--cert", "testdata/db.crt", name, "--output"}
	run(t, append(args, name+".signed")...)
	run(t, append(args, name+".p7", "--detached")...)
	theirs := read(t, name+".signed")
	if err := verify(t, theirs, "db.crt"); err != nil {
		t.Errorf("the signature of sbsign is refused: %v", err)
	}
	if digest(t, theirs) != d {
		t.Error("our digest of what sbsign signed is another")
	}
	with, err := uki.AddSignature(plain, read(t, name+".p7"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, testutil.RequireTool(t, "sbverify"), "--cert", "testdata/db.crt", write(t, with))
	if err := verify(t, with, "db.crt"); err != nil {
		t.Errorf("the detached signature of sbsign is refused: %v", err)
	}
}

// openssl signs what is to be signed, and the result is what we make ourselves.
func TestOpensslSignsElsewhere(t *testing.T) {
	openssl := testutil.RequireTool(t, "openssl")
	plain, d := program(t)
	text, err := secureboot.ToBeSigned(d)
	if err != nil {
		t.Fatal(err)
	}
	name := write(t, text)
	run(t, openssl, "dgst", "-sha256", "-sign", "testdata/db.key", "-out", name+".sig", name)
	wrapped, err := secureboot.Wrap(d, read(t, name+".sig"), certs(t, "db.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wrapped, signature(t, d, "db.key", "db.crt")) {
		t.Error("the same key makes another signature elsewhere")
	}
	if with, err := uki.AddSignature(plain, wrapped); err != nil || verify(t, with, "db.crt") != nil {
		t.Errorf("the signature is refused: %v", err)
	}
	run(t, openssl, "pkcs7", "-inform", "DER", "-in", write(t, wrapped), "-print", "-noout")
}

// go-uefi reads the same digest from a program and accepts our signature.
func TestGoUEFIAgrees(t *testing.T) {
	plain, d := program(t)
	for name, b := range map[string][]byte{"unsigned": plain, "signed": signed(t, plain)} {
		t.Run(name, func(t *testing.T) {
			theirs, err := authenticode.Parse(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if got := theirs.Hash(crypto.SHA256); !bytes.Equal(got, d[:]) {
				t.Errorf("digest is %x, theirs %x", d, got)
			}
			if name == "unsigned" {
				return
			}
			if ok, err := theirs.Verify(certs(t, "db.crt")[0]); !ok || err != nil {
				t.Errorf("they don't accept our signature: %v", err)
			}
		})
	}
}

// A certificate authority in db vouches for those that it issued, at any distance.
func TestChain(t *testing.T) {
	plain, d := program(t)
	whole, err := uki.AddSignature(plain, signature(t, d, "leaf.key", "leaf-chain.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []string{"ca.crt", "mid.crt", "leaf-chain.crt"} {
		if err := verify(t, whole, trusted); err != nil {
			t.Errorf("trusting %s: %v", trusted, err)
		}
	}
	run(t, testutil.RequireTool(t, "sbverify"), "--cert", "testdata/ca.crt", write(t, whole))
	alone, err := secureboot.Sign(d, key(t, "leaf.key"), certs(t, "leaf-chain.crt")[:1])
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = secureboot.Verify(d, [][]byte{alone}, certs(t, "ca.crt"))
	if !errors.Is(err, secureboot.ErrUntrusted) {
		t.Errorf("without the certificate between: want %q, found %v", secureboot.ErrUntrusted, err)
	}
	if _, anchor, err := secureboot.Verify(d, [][]byte{alone}, certs(t, "mid.crt")); err != nil || anchor.Subject.CommonName != "test intermediate" {
		t.Errorf("trusting the issuer itself: %v", err)
	}
}

// Wrap doesn't make a signature that isn't one.
func TestWrapRefuses(t *testing.T) {
	d := secureboot.Digest{1}
	good, err := secureboot.ToBeSigned(secureboot.Digest{2})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		chain []*x509.Certificate
		says  string
	}{
		{"no certificate", nil, "found none"},
		{"small key", []*x509.Certificate{small(t)}, "1024 bits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := secureboot.Wrap(d, good, test.chain)
			if !errors.Is(err, secureboot.ErrKey) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %q saying %q, found %v", secureboot.ErrKey, test.says, err)
			}
		})
	}
	if _, err := secureboot.Wrap(d, good, certs(t, "db.crt")); !errors.Is(err, secureboot.ErrSignature) || !strings.Contains(err.Error(), "want one by the key of the certificate") {
		t.Errorf("no signature: want %q, found %v", secureboot.ErrSignature, err)
	}
	if _, err := secureboot.Sign(d, key(t, "leaf.key"), certs(t, "db.crt")); !errors.Is(err, secureboot.ErrKey) {
		t.Errorf("a key and the certificate of another: want %q, found %v", secureboot.ErrKey, err)
	}
}

// token is a private key in hardware that was unplugged.
type token struct{ crypto.Signer }

var errUnplugged = errors.New("unplugged")

func (token) Public() crypto.PublicKey { return nil }

func (token) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errUnplugged }

// What the key says is passed on.
func TestSignReportsKey(t *testing.T) {
	if _, err := secureboot.Sign(secureboot.Digest{}, token{}, certs(t, "db.crt")); !errors.Is(err, errUnplugged) {
		t.Errorf("want %v, found %v", errUnplugged, err)
	}
}
