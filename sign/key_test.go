package sign_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	aead "aead.dev/minisign"

	"github.com/composefs-go/composefs/sign"
)

func newKey(t testing.TB) sign.PrivateKey {
	t.Helper()
	k, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keyLine is a public key's line of base64.
func keyLine(algorithm string, point []byte) string {
	return base64.StdEncoding.EncodeToString(append([]byte(algorithm+"12345678"), point...))
}

func TestPublicKeyText(t *testing.T) {
	k := newKey(t).Public("release")
	again, err := sign.ParseKey("other name", k.Text())
	if err != nil || !again.Equal(k) || again.ID != k.ID || again.Name != "other name" {
		t.Errorf("found %v, %v; want %v", again, err, k)
	}
	if want := fmt.Sprintf("%016X (%q)", uint64(k.ID), "release"); k.String() != want {
		t.Errorf("found %s, want %s", k, want)
	}
	_, line, _ := strings.Cut(string(k.Text()), "\n")
	for _, text := range []string{line, strings.TrimSuffix(line, "\n"), "untrusted comment: \n" + line} {
		if again, err := sign.ParseKey("", []byte(text)); err != nil || !again.Equal(k) {
			t.Errorf("%q: found %v, %v", text, again, err)
		}
	}
	if k.Equal(newKey(t).Public("release")) {
		t.Error("two new keys are equal")
	}
}

func TestMalformedPublicKeys(t *testing.T) {
	good := string(newKey(t).Public("").Text())
	_, line, _ := strings.Cut(good, "\n")
	point := bytes.Repeat([]byte{9}, 32)
	for _, test := range []struct{ name, text, message string }{
		{"empty", "", "want a minisign public key"},
		{"comment alone", "untrusted comment: a\n", "want a minisign public key"},
		{"not base64", "untrusted comment: a\n!!!!\n", "want a minisign public key"},
		{"PEM", "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n", "want a minisign public key"},
		{"too short", keyLine("Ed", point[:31]), "want a minisign public key"},
		{"too long", keyLine("Ed", append(point, 1)), "want a minisign public key"},
		{"other algorithm", keyLine("RS", point), "want a minisign public key"},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), "its lines end with CR LF, as Windows writes them; want LF alone"},
		{"two line feeds at the end", good + "\n", "found something else in or after them"},
		{"two keys", good + line, "found something else in or after them"},
		{"line break in the key", "untrusted comment: a\n" + line[:20] + "\n" + line[20:], "want a minisign public key"},
		{"too large", good + strings.Repeat("\n", 1024), "want at most 1024 bytes"},
		{"zeros", keyLine("Ed", make([]byte, 32)), "anyone can make signatures"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := sign.ParseKey("vendor", []byte(test.text))
			if !errors.Is(err, sign.ErrMalformed) || !strings.Contains(err.Error(), test.message) || !strings.Contains(err.Error(), `key "vendor"`) {
				t.Errorf("found %v, want ErrMalformed that names the key and says %q", err, test.message)
			}
		})
	}
}

// TestKeysThatAnybodyCanSignForAreRefused first shows that they are such: R = the
// neutral element and S = 0 are a signature for one message in at most eight.
func TestKeysThatAnybodyCanSignForAreRefused(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign1 := range []byte{0, 0x80} {
			point, err := hex.DecodeString(y)
			if err != nil {
				t.Fatal(err)
			}
			point[31] |= sign1
			if !forgeable(point, forged) {
				t.Errorf("%x: not forgeable after all", point)
			}
			if _, err := sign.ParseKey("", []byte(keyLine("Ed", point))); !errors.Is(err, sign.ErrMalformed) {
				t.Errorf("%x: found %v, want ErrMalformed", point, err)
			}
		}
	}
}

// A key that was forgotten to be set is one that anybody can sign for, and verifies nothing.
func TestTheZeroKeyVerifiesNothing(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1
	line := base64.StdEncoding.EncodeToString(append([]byte("ED\x00\x00\x00\x00\x00\x00\x00\x00"), forged...))
	for i := range 1000 {
		message := fmt.Appendf(nil, "message %d", i)
		text := fmt.Sprintf("untrusted comment: x\n%s\ntrusted comment: %d\n%s\n", line, i, base64.StdEncoding.EncodeToString(forged))
		if !aead.Verify(aead.PublicKey{}, message, []byte(text)) {
			continue
		}
		signature, err := sign.ParseSignature([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := (sign.Key{}).Verify(message, signature); !errors.Is(err, sign.ErrBadSignature) {
			t.Errorf("found %v", err)
		}
		return
	}
	t.Error("not forgeable after all")
}

func forgeable(point, signature []byte) bool {
	for i := range 500 {
		if ed25519.Verify(point, fmt.Appendf(nil, "message %d", i), signature) {
			return true
		}
	}
	return false
}

func TestLoadKeyring(t *testing.T) {
	a, b := newKey(t).Public("a"), newKey(t).Public("b")
	keys, err := sign.LoadKeyring(fstest.MapFS{
		"keys.d/b.pub":     {Data: b.Text()},
		"keys.d/a.pub":     {Data: a.Text()},
		"keys.d/README":    {Data: []byte("nothing to see")},
		"keys.d/a.pub.bak": {Data: []byte("nothing to see")},
	}, "keys.d")
	if err != nil || len(keys) != 2 || !keys[0].Equal(a) || keys[0].Name != "a" || !keys[1].Equal(b) {
		t.Errorf("found %v, %v; want %v and %v", keys, err, a, b)
	}
	if keys, err := sign.LoadKeyring(fstest.MapFS{"c.pub": {Data: a.Text()}}, "."); err != nil || len(keys) != 1 {
		t.Errorf("in the root: found %v, %v", keys, err)
	}
}

func TestLoadKeyringRefuses(t *testing.T) {
	good := newKey(t).Public("").Text()
	many := fstest.MapFS{}
	for i := range sign.MaxKeys + 1 {
		many[fmt.Sprintf("k/%04d.pub", i)] = &fstest.MapFile{Data: good}
	}
	for _, test := range []struct {
		name    string
		fsys    fstest.MapFS
		cause   error
		message string
	}{
		{"no directory", fstest.MapFS{}, fs.ErrNotExist, "read the trusted keys"},
		{"malformed", fstest.MapFS{"k/a.pub": {Data: good}, "k/z.pub": {Data: []byte("z")}}, sign.ErrMalformed, `"k/z.pub"`},
		{"empty file", fstest.MapFS{"k/a.pub": {}}, sign.ErrMalformed, `"k/a.pub"`},
		{"too large", fstest.MapFS{"k/a.pub": {Data: make([]byte, 1<<20)}}, sign.ErrMalformed, "want at most 1024 bytes"},
		{"directory", fstest.MapFS{"k/a.pub/x": {Data: good}}, nil, `"k/a.pub": want a regular file`},
		{"too many", many, nil, "want at most 256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := sign.LoadKeyring(test.fsys, "k")
			if err == nil || keys != nil || (test.cause != nil && !errors.Is(err, test.cause)) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("found %v, %v; want no keys and an error that says %q", keys, err, test.message)
			}
		})
	}
}

// unreadable is a directory of one key that can be listed, and then fails at open,
// stat or read.
type unreadable struct {
	fstest.MapFS
	fails string
}

type unreadableFile struct {
	fs.File
	fails string
}

func (u unreadable) Open(name string) (fs.File, error) {
	f, err := u.MapFS.Open(name)
	if err != nil || name == "k" {
		return f, err
	}
	if u.fails == "open" {
		return nil, fs.ErrPermission
	}
	return unreadableFile{f, u.fails}, nil
}

func (f unreadableFile) Stat() (fs.FileInfo, error) {
	if f.fails == "stat" {
		return nil, fs.ErrPermission
	}
	return f.File.Stat()
}

func (f unreadableFile) Read([]byte) (int, error) { return 0, fs.ErrPermission }

// One key that can't be read is an error, not one key less.
func TestUnreadableKeys(t *testing.T) {
	good := newKey(t).Public("").Text()
	for _, fails := range []string{"open", "stat", "read"} {
		keys, err := sign.LoadKeyring(unreadable{fstest.MapFS{"k/a.pub": {Data: good}}, fails}, "k")
		if keys != nil || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), `"k/a.pub"`) {
			t.Errorf("%s: found %v, %v", fails, keys, err)
		}
	}
}
