package filekind_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
)

func TestAKindIsToldByTheFirstBytes(t *testing.T) {
	at := func(n int, magic string) []byte { return append(make([]byte, n), magic...) }
	for _, test := range []struct {
		head []byte
		want filekind.Kind
	}{
		{[]byte("MZ\x00"), filekind.EFI}, {at(1024, "\xe2\xe1\xf5\xe0"), filekind.Image}, {at(512, "EFI PART"), filekind.Disk}, {at(510, "\x55\xaa"), filekind.Disk},
		{[]byte("070701"), filekind.Cpio}, {at(512, "070701"), filekind.Cpio},
		{[]byte("\x1f\x8b"), filekind.Packed}, {[]byte("\x28\xb5\x2f\xfd"), filekind.Packed}, {[]byte("BZh91AY&SY\x8c"), filekind.Packed},
		{nil, filekind.Empty}, {make([]byte, 2048), filekind.Zeros}, {at(1024, "\xe2\xe1\xf5"), filekind.Unknown}, {[]byte("\x7fELF\x00"), "a program"},
		{append(at(54, "FAT16"), at(451, "\x55\xaa")...), "a FAT file system without a disk around it"},
		{at(1080, "\x53\xef"), "an ext4 file system without a disk around it"},
		{[]byte("/ 4096 40755 2 0 0 0 0.0 - - -\n"), filekind.Dump}, {[]byte("{}"), filekind.JSON}, {at(257, "ustar"), filekind.Tar},
		{[]byte("MZ"), filekind.Text}, {[]byte("BZh, said she\n"), filekind.Text}, {[]byte("# a policy\n"), filekind.Text}, {[]byte("bell \a"), filekind.Unknown},
		{[]byte("ssh-ed25519 AAAA me"), "a public key of OpenSSH"}, {[]byte("-----BEGIN CERTIFICATE-----"), "a certificate in PEM, as of openssl"},
		{[]byte("composefs-seal v1\n"), "the statement of a seal"},
	} {
		if got := filekind.Of(test.head); got != test.want {
			t.Errorf("%.20q…: found %q, want %q", test.head, got, test.want)
		}
	}
}

func TestATextMayBeCutWithinACharacter(t *testing.T) {
	for _, long := range []string{"ä", "€", "𝄞"} {
		for shift := range len(long) {
			head := []byte(strings.Repeat("x", shift) + strings.Repeat(long, filekind.HeadSize))[:filekind.HeadSize]
			if got := filekind.Of(head); got != filekind.Text {
				t.Errorf("%s after %d: found %q", long, shift, got)
			}
		}
	}
	if got := filekind.Of([]byte("x\xff")); got == filekind.Text {
		t.Error("what isn't UTF-8 is a text")
	}
}

func TestWhatIsNotAKeyHasNoKindOfKey(t *testing.T) {
	for _, text := range []string{"", "a text", "/ 0 0", "MZ\x00"} {
		if got := filekind.Key([]byte(text)); got != filekind.Unknown {
			t.Errorf("%q: found %q", text, got)
		}
	}
}

func TestWhatIsNoDirectoryAndNoFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 10), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := filekind.CheckDirectory(dir); err != nil {
		t.Error(err)
	}
	if err := filekind.CheckDirectory(file); err == nil || err.Error() != file+" is a file: want a directory" {
		t.Errorf("found %v", err)
	}
	if err := filekind.CheckDirectory(filepath.Join(dir, "nosuch")); !os.IsNotExist(err) {
		t.Errorf("found %v", err)
	}
	if _, err := filekind.Open(dir, "an image"); err == nil || err.Error() != dir+" is a directory: want an image" {
		t.Errorf("found %v", err)
	}
	f, err := filekind.Open(file, "an image")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := filekind.OfFile(f); got != filekind.Text {
		t.Errorf("found %q", got)
	}
}

func TestAPrivateKeyInDERIsASecret(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if !filekind.HoldsSecret(pkcs8) || !filekind.HoldsSecret(ec) || filekind.HoldsSecret(public) {
		t.Error("a private key passes, or a public one doesn't")
	}
}

// The files are as openssl writes them.
func TestAnEncryptedPrivateKeyIsASecret(t *testing.T) {
	testutil.RequireTool(t, "openssl")
	dir := t.TempDir()
	script := `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key -out cert 2>err &&
openssl pkcs8 -topk8 -in key -outform DER -passout pass:x -out encrypted.der &&
openssl pkcs12 -export -inkey key -in cert -passout pass:x -out pair.p12 &&
openssl x509 -in cert -outform DER -out cert.der && openssl crl2pkcs7 -nocrl -certfile cert -outform DER -out cert.p7b`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]bool{"encrypted.der": true, "pair.p12": true, "cert.der": false, "cert.p7b": false} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := filekind.HoldsSecret(content); got != want {
			t.Errorf("%s: HoldsSecret is %v, want %v", name, got, want)
		}
	}
}

// A text with a private key in it is one, whatever stands before the key; an archive isn't.
func TestAFileThatHoldsASecretIsKnown(t *testing.T) {
	private, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.Text("")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		string(secret):                          true,
		string(private.Public("").Text()):       false,
		"-----BEGIN PRIVATE KEY-----\nMC4C\n":   true,
		"-----BEGIN RSA PRIVATE KEY-----\nMC\n": true,
		"-----BEGIN ENCRYPTED PRIVATE KEY-----": true,
		"-----BEGIN OPENSSH PRIVATE KEY-----\n": true,
		"-----BEGIN PGP PRIVATE KEY BLOCK-----": true,
		"-----BEGIN CERTIFICATE-----\nMC\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nMC\n": true,
		"# created: 2026\nAGE-SECRET-KEY-1QQQ\n":                                                           true,
		"age1qqqq\n":                                                                                       false,
		"-----BEGIN CERTIFICATE-----\n":                                                                    false,
		"-----BEGIN PUBLIC KEY-----\n":                                                                     false,
		"ssh-ed25519 AAAA me":                                                                              false,
		"070701\x00-----BEGIN PRIVATE KEY-----":                                                            false, // an archive
		"":                                                                                                 false,
	} {
		if got := filekind.HoldsSecret([]byte(text)); got != want {
			t.Errorf("%q: found %t", text, got)
		}
	}
}
