package sign_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
)

// minisign runs the program with the password on its standard input.
func minisign(t *testing.T, dir, password string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(testutil.RequireTool(t, "minisign"), args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(password + "\n" + password + "\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustMinisign(t *testing.T, dir, password string, args ...string) {
	t.Helper()
	if out, err := minisign(t, dir, password, args...); err != nil {
		t.Fatalf("minisign %v: %v\n%s", args, err, out)
	}
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMinisignVerifiesOurs(t *testing.T) {
	dir := t.TempDir()
	key := newKey(t)
	seal, sig := makeSeal(t, mustDigest(t, digest256), 42, key)
	write(t, dir, "d.seal", seal)
	write(t, dir, "d.seal.minisig", sig)
	write(t, dir, "key.pub", key.Public("").Text())
	mustMinisign(t, dir, "", "-V", "-H", "-m", "d.seal", "-p", "key.pub")
	write(t, dir, "d.seal", append(seal, '\n'))
	if out, err := minisign(t, dir, "", "-V", "-m", "d.seal", "-p", "key.pub"); err == nil {
		t.Errorf("minisign accepts a changed seal: %s", out)
	}
}

func TestWeVerifyMinisigns(t *testing.T) {
	dir := t.TempDir()
	image := mustDigest(t, digest256)
	seal, _ := makeSeal(t, image, 42, newKey(t))
	write(t, dir, "d.seal", seal)
	mustMinisign(t, dir, "", "-G", "-W", "-p", "key.pub", "-s", "key")
	mustMinisign(t, dir, "", "-S", "-s", "key", "-m", "d.seal")
	key, err := sign.ParseKey("key", read(t, dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	policy := sign.Policy{Keys: sign.Keyring{key}}
	sig := read(t, dir, "d.seal.minisig")
	if v, err := policy.Verify(image, seal, [][]byte{sig}); err != nil || v.Statement.Sequence != 42 {
		t.Errorf("found %+v, %v", v, err)
	}
	if s, err := sign.ParseSignature(sig); err != nil || !strings.HasPrefix(s.Comment, "timestamp:") || s.KeyID != key.ID {
		t.Errorf("found %+v, %v", s, err)
	}

	mustMinisign(t, dir, "", "-S", "-l", "-s", "key", "-m", "d.seal")
	_, err = policy.Verify(image, seal, [][]byte{read(t, dir, "d.seal.minisig")})
	if !errors.Is(err, sign.ErrBadSignature) || !strings.Contains(err.Error(), "in the legacy form, without prehashing") {
		t.Errorf("legacy signature: found %v, want a refusal that says so", err)
	}
}

func TestPrivateKeysGoBothWays(t *testing.T) {
	passwords := []string{"", "correct horse"}
	if testing.Short() {
		passwords = passwords[:1] // minisign's encryption takes seconds and 1 GiB
	}
	for _, password := range passwords {
		t.Run("password "+password, func(t *testing.T) {
			dir := t.TempDir()
			key := newKey(t)
			text, err := key.Text(password)
			if err != nil {
				t.Fatal(err)
			}
			if sign.IsEncrypted(text) != (password != "") {
				t.Error("IsEncrypted is wrong about it")
			}
			write(t, dir, "ours", text)
			write(t, dir, "message", []byte("hello"))
			args := []string{"-S", "-s", "ours", "-m", "message"}
			mustMinisign(t, dir, password, args...)
			write(t, dir, "ours.pub", key.Public("").Text())
			mustMinisign(t, dir, "", "-V", "-m", "message", "-p", "ours.pub")

			generate := []string{"-G", "-p", "theirs.pub", "-s", "theirs"}
			if password == "" {
				generate = append(generate, "-W")
			}
			mustMinisign(t, dir, password, generate...)
			theirs, err := sign.ParsePrivateKey(read(t, dir, "theirs"), password)
			if err != nil {
				t.Fatal(err)
			}
			public, err := sign.ParseKey("", read(t, dir, "theirs.pub"))
			if err != nil || !public.Equal(theirs.Public("")) {
				t.Errorf("public half: found %v, %v; want %v", theirs.Public(""), err, public)
			}
			if password == "" {
				return
			}
			if _, err := sign.ParsePrivateKey(text, "wrong"); !errors.Is(err, sign.ErrPassword) {
				t.Errorf("wrong password: found %v, want ErrPassword", err)
			}
		})
	}
}

func TestMalformedPrivateKeys(t *testing.T) {
	good, err := newKey(t).Text("")
	if err != nil {
		t.Fatal(err)
	}
	if k, err := sign.ParsePrivateKey(good, "not needed"); err != nil || k.ID() == 0 {
		t.Fatalf("found %v", err)
	}
	// Another character of the base64 alphabet, whatever the key is: not every bit flip is one.
	damaged := bytes.Clone(good)
	if at := len(damaged) - 60; damaged[at] == 'A' {
		damaged[at] = 'B'
	} else {
		damaged[at] = 'A'
	}
	for _, test := range []struct {
		name    string
		text    []byte
		message string
	}{
		{"empty", nil, "want a secret key as mkimage key new or minisign -G writes it"},
		{"public key", newKey(t).Public("").Text(), "want a secret key as mkimage key new or minisign -G writes it"},
		{"too large", make([]byte, 5000), "want at most 1024 bytes"},
		{"cut off", good[:100], "want a secret key as mkimage key new or minisign -G writes it"},
		{"damaged public half", damaged, "its two halves don't belong together"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := sign.ParsePrivateKey(test.text, ""); !errors.Is(err, sign.ErrMalformed) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("found %v, want ErrMalformed that says %q", err, test.message)
			}
		})
	}
}

func TestSigningTwiceGivesTheSame(t *testing.T) {
	key := newKey(t)
	_, a := makeSeal(t, mustDigest(t, digest256), 42, key)
	_, b := makeSeal(t, mustDigest(t, digest256), 42, key)
	if !bytes.Equal(a, b) {
		t.Errorf("%q\n%q", a, b)
	}
}

func TestSignatureFormIsStrict(t *testing.T) {
	_, sig := makeSeal(t, mustDigest(t, digest256), 42, newKey(t))
	good := string(sig)
	if _, err := sign.ParseSignature(sig); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, text string }{
		{"empty", ""},
		{"one line", "untrusted comment: a\n"},
		{"line feed more", good + "\n"},
		{"something after it", good + "more\n"},
		{"two signatures", good + good},
		{"no line feed at the end", strings.TrimSuffix(good, "\n")},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n")},
		{"no comment", good[strings.Index(good, "\n")+1:]},
		{"carriage return in base64", strings.Replace(good, "\nRU", "\nR\rU", 1)},
		{"other trusted comment line", strings.Replace(good, "trusted comment: composefs", "Trusted comment: composefs", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if s, err := sign.ParseSignature([]byte(test.text)); !errors.Is(err, sign.ErrBadSignature) {
				t.Errorf("found %+v, %v; want ErrBadSignature", s, err)
			}
		})
	}
}

func TestWindowsLineEndsAreNamed(t *testing.T) {
	windows := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }
	key := newKey(t)
	_, sig := makeSeal(t, mustDigest(t, digest256), 42, key)
	const want = "its lines end with CR LF, as Windows writes them; want LF alone"
	if _, err := sign.ParseSignature(windows(sig)); !errors.Is(err, sign.ErrLineEnds) || !strings.HasSuffix(err.Error(), want) {
		t.Error(err)
	}
	if _, err := sign.ParseKey("k", windows(key.Public("").Text())); !errors.Is(err, sign.ErrLineEnds) || !strings.HasSuffix(err.Error(), want) {
		t.Error(err)
	}
}

// fuzzKey is the same in every process of a fuzz target, and secures nothing.
const fuzzKey = `untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIXF+15SPCDX3FhejXSzkJTr8w4R6TWb7QEXmqDDUUk7QvRxT5/6D5reXtVPRcTC3M6/XIY4CssI43xcm+oz5Ue+oUbncH/d6AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
`

func FuzzParseSignature(f *testing.F) {
	key, err := sign.ParsePrivateKey([]byte(fuzzKey), "")
	if err != nil {
		f.Fatal(err)
	}
	message, sig := makeSeal(f, mustDigest(f, digest256), 42, key)
	public := key.Public("")
	f.Add(sig)
	f.Add([]byte("untrusted comment: a\nRUS=\ntrusted comment: b\nAA==\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := sign.ParseSignature(text)
		if err != nil {
			return
		}
		rest := func(b []byte) []byte { return b[bytes.IndexByte(b, '\n'):] } // without the untrusted comment
		if public.Verify(message, s) == nil && !bytes.Equal(rest(text), rest(sig)) {
			t.Errorf("%q holds, and isn't what was signed", text)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(newKey(f).Public("").Text())
	f.Add([]byte(keyLine("Ed", make([]byte, 32))))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := sign.ParseKey("k", text)
		if err != nil {
			return
		}
		if again, err := sign.ParseKey("k", k.Text()); err != nil || !again.Equal(k) {
			t.Errorf("%q is %v, whose text is %v, %v", text, k, again, err)
		}
	})
}

// A private key that is accepted signs what its public half verifies, and is the
// same when written again. What is encrypted isn't tried: that takes a second.
func FuzzParsePrivateKey(f *testing.F) {
	f.Add([]byte(fuzzKey))
	f.Add([]byte("untrusted comment: minisign secret key\nRWQAAEIy\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if sign.IsEncrypted(text) {
			return
		}
		k, err := sign.ParsePrivateKey(text, "")
		if err != nil {
			if !errors.Is(err, sign.ErrMalformed) {
				t.Errorf("%q: %v is no ErrMalformed", text, err)
			}
			return
		}
		again, err := k.Text("")
		if err != nil {
			t.Fatal(err)
		}
		l, err := sign.ParsePrivateKey(again, "")
		if err != nil || l.ID() != k.ID() || !l.Public("").Equal(k.Public("")) {
			t.Errorf("%q written again is %q, %v", text, again, err)
		}
	})
}
